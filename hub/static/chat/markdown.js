// Markdown as far as answers need it, built as DOM nodes: text only ever becomes text nodes, so nothing can be injected.
// Fences, headings, lists, quotes, rules, tables; inline code, bold, italic, strike, links. No images, no HTML.

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ROW = /^\s*\|.*\|\s*$/;
const DIVIDER = /^\s*\|(?:\s*:?-+:?\s*\|)+\s*$/;
const QUOTE = /^ {0,3}>\s?/;

// The text cut into blocks. A block's source decides its looks, so that unchanged blocks need not be drawn again.
export function blocks(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const found = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const end = endOf(lines, at);
    found.push(lines.slice(at, end).join("\n"));
    at = end;
  }
  return found;
}

function endOf(lines, at) {
  const fence = FENCE.exec(lines[at]);
  let end = at + 1;
  if (fence) {
    const close = new RegExp(`^ {0,3}${fence[1][0]}{${fence[1].length},}\\s*$`);
    while (end < lines.length && !close.test(lines[end])) end += 1;
    return Math.min(end + 1, lines.length);
  }
  if (HEADING.test(lines[at]) || RULE.test(lines[at])) return end;
  const list = ITEM.test(lines[at]);
  while (end < lines.length) {
    const line = lines[end];
    if (!line.trim()) {
      if (list && end + 1 < lines.length && (ITEM.test(lines[end + 1]) || /^\s{2,}\S/.test(lines[end + 1]))) end += 1;
      else break;
    } else if (!list && (FENCE.test(line) || HEADING.test(line) || ITEM.test(line) || starts(lines[at], line))) {
      break;
    }
    end += 1;
  }
  return end;
}

// Whether a line of another kind begins a new block after one that began with `first`.
function starts(first, line) {
  return ROW.test(first) !== ROW.test(line) || QUOTE.test(first) !== QUOTE.test(line);
}

export function draw(source) {
  const lines = source.split("\n");
  const fence = FENCE.exec(lines[0]);
  if (fence) return drawCode(lines, fence[2]);
  if (ITEM.test(lines[0])) return drawList(lines);
  if (ROW.test(lines[0]) && lines[1] && DIVIDER.test(lines[1])) return drawTable(lines);
  if (QUOTE.test(lines[0])) return drawQuote(lines);
  if (RULE.test(lines[0])) return document.createElement("hr");
  const heading = HEADING.exec(lines[0]);
  if (heading) return inline(element(`h${Math.min(6, heading[1].length + 2)}`), heading[2]);
  return drawLines(element("p"), lines);
}

function drawCode(lines, name) {
  const fence = FENCE.exec(lines[0])[1];
  const closed = lines.length > 1 && lines[lines.length - 1].trim().startsWith(fence);
  const pre = element("pre");
  const code = element("code");
  code.textContent = lines.slice(1, closed ? -1 : undefined).join("\n");
  if (name) pre.dataset.language = name;
  pre.append(code);
  pre.tabIndex = 0;
  return pre;
}

function drawList(lines) {
  const root = { indent: -1, list: null, item: element("div") };
  const open = [root];
  for (const line of lines) {
    const found = ITEM.exec(line);
    if (!found) {
      if (line.trim()) drawLines(open[open.length - 1].item, [line.trim()], true);
      continue;
    }
    const indent = found[1].replace(/\t/g, "    ").length;
    while (open.length > 1 && indent < open[open.length - 1].indent) open.pop();
    if (indent > open[open.length - 1].indent) {
      const list = element(/\d/.test(found[2]) ? "ol" : "ul");
      if (list.tagName === "OL" && parseInt(found[2], 10) !== 1) list.start = parseInt(found[2], 10);
      open[open.length - 1].item.append(list);
      open.push({ indent, list, item: null });
    }
    const level = open[open.length - 1];
    level.item = inline(element("li"), found[3]);
    level.list.append(level.item);
  }
  return root.item.firstElementChild ?? root.item;
}

function drawTable(lines) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const table = element("table");
  const head = table.createTHead().insertRow();
  for (const cell of cells(lines[0])) head.append(inline(element("th"), cell));
  const body = table.createTBody();
  for (const line of lines.slice(2)) {
    const row = body.insertRow();
    for (const cell of cells(line)) inline(row.insertCell(), cell);
  }
  const wide = element("div", "wide");
  wide.append(table);
  return wide;
}

function drawQuote(lines) {
  const quote = element("blockquote");
  for (const block of blocks(lines.map((line) => line.replace(QUOTE, "")).join("\n"))) quote.append(draw(block));
  return quote;
}

function drawLines(parent, lines, onNewLine = false) {
  lines.forEach((line, index) => {
    if (index || onNewLine) parent.append(element("br"));
    inline(parent, line.replace(/\s+$/, ""));
  });
  return parent;
}

// In order of precedence; each pattern's first group is what stands inside.
const MARKS = [
  ["code", /(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)/],
  ["link", /\[([^\]\n]{1,500})\]\((https?:\/\/[^\s()<>]+(?:\([^\s()<>]*\)[^\s()<>]*)*)(?:\s+"[^"\n]*")?\)/],
  ["bare", /https?:\/\/[^\s<>"'`]+[^\s<>"'`.,;:!?)\]}，。；：！？）】]/],
  ["strong", /\*\*(?=\S)([^\n]+?)(?<=\S)\*\*/],
  ["strong", /(?<!\w)__(?=\S)([^\n]+?)(?<=\S)__(?!\w)/],
  ["em", /(?<![*\w])\*(?=[^\s*])([^*\n]+?)(?<=[^\s*])\*(?![*\w])/],
  ["em", /(?<!\w)_(?=[^\s_])([^_\n]+?)(?<=[^\s_])_(?!\w)/],
  ["s", /~~(?=\S)([^~\n]+?)(?<=\S)~~/],
];
const LONGEST = 20_000;

export function inline(parent, text) {
  let rest = text.slice(0, LONGEST);
  while (rest) {
    let first = null;
    for (const [kind, pattern] of MARKS) {
      const found = pattern.exec(rest);
      if (found && (!first || found.index < first.found.index)) first = { kind, found };
    }
    if (!first) break;
    const { kind, found } = first;
    parent.append(plain(rest.slice(0, found.index)), mark(kind, found));
    rest = rest.slice(found.index + found[0].length);
  }
  parent.append(plain(rest + text.slice(LONGEST)));
  return parent;
}

const plain = (text) => document.createTextNode(text.replace(/\\([\\`*_{}[\]()#+\-.!~|>])/g, "$1"));

function mark(kind, found) {
  if (kind === "code") {
    const code = element("code");
    code.textContent = found[2].replace(/^ (.+) $/, "$1");
    return code;
  }
  if (kind === "link" || kind === "bare") {
    const link = element("a");
    link.href = kind === "link" ? found[2] : found[0];
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    if (kind === "link") inline(link, found[1].replace(/https?:\/\//g, ""));
    else link.textContent = found[0];
    return link;
  }
  return inline(element(kind), found[1]);
}

function element(name, className = "") {
  const node = document.createElement(name);
  if (className) node.className = className;
  return node;
}

// Draw `text` into `parent`, leaving the blocks that did not change: streaming stays cheap and selections survive.
export function update(parent, text) {
  const next = blocks(text);
  const drawn = parent.drawnBlocks ?? [];
  let same = 0;
  while (same < next.length && same < drawn.length && next[same] === drawn[same]) same += 1;
  while (parent.childNodes.length > same) parent.lastChild.remove();
  for (const source of next.slice(same)) parent.append(draw(source));
  parent.drawnBlocks = next;
}
