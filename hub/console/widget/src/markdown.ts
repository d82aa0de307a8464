// Markdown as far as answers need it, built as DOM nodes: text only ever becomes text nodes, so nothing can be injected
// and there is no HTML to sanitise. Fences, headings, lists, quotes, rules, tables; inline code, bold, italic, strike,
// links, images where they are allowed, numbered citations. HTML is shown as it is written.

import { copyButton, h, icon } from "./dom.js";
import { colour } from "./highlight.js";
import type { Words } from "./words.js";

export interface Drawing {
  words: Words;
  // Whether an image of this address may be fetched: it tells its server who reads what.
  image(url: string): boolean;
  // A button for citation `n`, where there is one.
  cite(n: number): Node | null;
}

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])(\s+)(.*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const DIVIDER = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;
const QUOTE = /^ {0,3}>\s?/;
const INDENTED = /^\s{2,}\S/;
const blank = (line: string | undefined): boolean => !line?.trim();
const ordered = (marker: string): boolean => /\d/.test(marker);

// The text cut into blocks. A block's source decides its looks, so that unchanged blocks need not be drawn again.
function blocks(text: string): string[] {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const found: string[] = [];
  let at = 0;
  while (at < lines.length) {
    if (blank(lines[at])) {
      at += 1;
      continue;
    }
    const end = endOf(lines, at);
    found.push(lines.slice(at, end).join("\n"));
    at = end;
  }
  return found;
}

function endOf(lines: string[], at: number): number {
  const first = lines[at]!;
  const fence = FENCE.exec(first);
  if (fence) return endOfFence(lines, at, fence[1]!);
  if (HEADING.test(first) || RULE.test(first)) return at + 1;
  const item = ITEM.exec(first);
  if (item) return endOfList(lines, at, item);
  if (isTable(lines, at)) return until(lines, at + 2, (line) => blank(line) || !line.includes("|"));
  if (QUOTE.test(first)) return until(lines, at + 1, (line) => blank(line) || !QUOTE.test(line));
  return until(lines, at + 1, (line, index) => blank(line) || interrupts(lines, index));
}

function until(lines: string[], at: number, ends: (line: string, index: number) => boolean): number {
  while (at < lines.length && !ends(lines[at]!, at)) at += 1;
  return at;
}

function endOfFence(lines: string[], at: number, mark: string): number {
  const close = new RegExp(`^ {0,3}${mark[0]}{${mark.length},}\\s*$`);
  return Math.min(lines.length, until(lines, at + 1, (line) => close.test(line)) + 1);
}

function endOfList(lines: string[], at: number, first: RegExpExecArray): number {
  const base = first[1]!.length;
  return until(lines, at + 1, (line, index) => {
    if (blank(line)) {
      const next = lines[index + 1] ?? "";
      return !(INDENTED.test(next) || sameList(next, base, first[2]!));
    }
    const item = ITEM.exec(line);
    if (item) return item[1]!.length <= base && !sameList(line, base, first[2]!);
    return !INDENTED.test(line) && (interrupts(lines, index) || blank(lines[index - 1]));
  });
}

function sameList(line: string, base: number, marker: string): boolean {
  const item = ITEM.exec(line);
  return item !== null && (item[1]!.length > base || ordered(item[2]!) === ordered(marker)) && !RULE.test(line);
}

// Whether this line begins another block in the middle of a paragraph.
function interrupts(lines: string[], at: number): boolean {
  const line = lines[at]!;
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || isTable(lines, at)) return true;
  const item = ITEM.exec(line);
  return item !== null && (!ordered(item[2]!) || /^1\D/.test(item[2]!));
}

function isTable(lines: string[], at: number): boolean {
  const divider = lines[at + 1];
  return lines[at]!.includes("|") && divider !== undefined && divider.includes("|") && DIVIDER.test(divider);
}

const DEEPEST = 12;
let depth = 0;

// Quotes in lists in quotes, as far as anybody means it; what is deeper stays text.
function within(source: string, how: Drawing): Node {
  if (depth >= DEEPEST) return h("p", {}, source.slice(0, LONGEST));
  depth += 1;
  try {
    return draw(source, how);
  } finally {
    depth -= 1;
  }
}

function draw(source: string, how: Drawing): Node {
  const lines = source.split("\n");
  const first = lines[0]!;
  const fence = FENCE.exec(first);
  if (fence) return drawCode(lines, fence[1]!, fence[2]!, how);
  const heading = HEADING.exec(first);
  if (heading) return inline(h(`h${Math.min(6, heading[1]!.length + 2)}` as "h3"), heading[2]!, how);
  if (RULE.test(first)) return h("hr");
  if (ITEM.test(first)) return drawList(lines, how);
  if (isTable(lines, 0)) return drawTable(lines, how);
  if (QUOTE.test(first)) return drawQuote(lines, how);
  return drawLines(h("p"), lines, how);
}

function drawCode(lines: string[], fence: string, name: string, how: Drawing): Node {
  const closed = lines.length > 1 && lines.at(-1)!.trim().startsWith(fence);
  const text = lines.slice(1, closed ? -1 : undefined).join("\n");
  const code = h("code");
  if (closed) colour(code, text, name);
  else code.textContent = text;
  return h(
    "div",
    "code",
    h(
      "div",
      "bar",
      h("span", {}, name),
      copyButton(how.words.say("copy"), how.words.say("copied"), () => text),
    ),
    h("pre", { tabindex: 0 }, code),
  );
}

function drawList(lines: string[], how: Drawing): Node {
  const first = ITEM.exec(lines[0]!)!;
  const base = first[1]!.length;
  const items: string[][] = [];
  let offset = 0;
  for (const line of lines) {
    const found = ITEM.exec(line);
    if (found && found[1]!.length <= base + 1) {
      offset = found[1]!.length + found[2]!.length + 1;
      items.push([found[4]!]);
    } else {
      const indent = /^\s*/.exec(line)![0].length;
      items.at(-1)!.push(line.slice(Math.min(indent, offset)));
    }
  }
  const list = h(ordered(first[2]!) ? "ol" : "ul");
  if (ordered(first[2]!) && parseInt(first[2]!, 10) !== 1) list.setAttribute("start", String(parseInt(first[2]!, 10)));
  list.append(...items.map((item) => drawItem(item, how)));
  return list;
}

function drawItem(lines: string[], how: Drawing): Node {
  const task = /^\[([ xX])\]\s+/.exec(lines[0]!);
  const item = h("li", task ? "task" : "");
  if (task) {
    item.append(
      h("input", { type: "checkbox", disabled: true, checked: task[1] !== " ", "aria-label": lines[0]!.slice(4) }),
    );
    lines[0] = lines[0]!.slice(task[0].length);
  }
  const parts = blocks(lines.join("\n"));
  for (const source of parts) {
    const node = within(source, how);
    if (node instanceof HTMLParagraphElement && source === parts[0]) item.append(...node.childNodes);
    else item.append(node);
  }
  return item;
}

function drawTable(lines: string[], how: Drawing): Node {
  const cells = (line: string): string[] =>
    line
      .trim()
      .replace(/^\||(?<!\\)\|$/g, "")
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim().replace(/\\\|/g, "|"));
  const sides = cells(lines[1]!).map((mark) => (mark.endsWith(":") ? (mark.startsWith(":") ? "mid" : "end") : ""));
  const row = (line: string, kind: "th" | "td"): Node =>
    h(
      "tr",
      {},
      ...cells(line)
        .slice(0, sides.length)
        .map((cell, n) => inline(h(kind, { class: sides[n], scope: kind === "th" && "col" }), cell, how)),
    );
  return h(
    "div",
    { class: "wide", tabindex: 0 },
    h(
      "table",
      {},
      h("thead", {}, row(lines[0]!, "th")),
      h("tbody", {}, ...lines.slice(2).map((line) => row(line, "td"))),
    ),
  );
}

function drawQuote(lines: string[], how: Drawing): Node {
  const inner = lines.map((line) => line.replace(QUOTE, "")).join("\n");
  return h("blockquote", {}, ...blocks(inner).map((source) => within(source, how)));
}

function drawLines(parent: HTMLElement, lines: string[], how: Drawing): HTMLElement {
  lines.forEach((line, index) => {
    if (index) parent.append(h("br"));
    inline(parent, line.trim(), how);
  });
  return parent;
}

// In order of precedence where two begin at the same place.
const ADDRESS = '((?:https?:\\/\\/|mailto:|tel:)[^\\s()<>]*(?:\\([^\\s()<>]*\\)[^\\s()<>]*)*)(?:\\s+"[^"\\n]*")?\\)';
const MARKS: [string, RegExp][] = [
  ["code", /(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)/g],
  ["image", new RegExp(`!\\[([^\\]\\n]{0,500})\\]\\(${ADDRESS}`, "g")],
  ["link", new RegExp(`(?<!\\\\)\\[([^\\]\\n]{1,500})\\]\\(${ADDRESS}`, "g")],
  ["cite", /\[\^?(\d{1,3})\](?!\()/g],
  ["bare", /https?:\/\/[^\s<>"'`|\\]+[^\s<>"'`|\\.,;:!?)\]}*，。；：！？）】、]/g],
  ["break", /<br\s*\/?>/gi],
  ["both", /(?<![*\\])\*\*\*(?=\S)([^\n]+?)(?<=\S)\*\*\*(?!\*)/g],
  ["strong", /(?<!\\)\*\*(?=\S)([^\n]+?)(?<=[^\s\\])\*\*/g],
  ["strong", /(?<![\w\\])__(?=\S)([^\n]+?)(?<=\S)__(?!\w)/g],
  ["em", /(?<![*\\])\*(?=[^\s*])((?:[^*\n]|\*\*[^*\n]+\*\*)+?)(?<=[^\s\\])\*(?!\*)/g],
  ["em", /(?<![\w\\])_(?=[^\s_])([^_\n]+?)(?<=[^\s_])_(?!\w)/g],
  ["s", /~~(?=\S)([^~\n]+?)(?<=\S)~~/g],
];
const LONGEST = 20_000;

function inline<T extends HTMLElement>(parent: T, text: string, how: Drawing): T {
  const whole = text.slice(0, LONGEST);
  const next = MARKS.map(([kind, mark]) => ({
    kind,
    pattern: new RegExp(mark),
    found: null as RegExpExecArray | null,
    done: false,
  }));
  let at = 0;
  for (;;) {
    let first: { kind: string; found: RegExpExecArray } | null = null;
    for (const mark of next) {
      if (!mark.done && (!mark.found || mark.found.index < at)) {
        mark.pattern.lastIndex = at;
        mark.found = mark.pattern.exec(whole);
        mark.done = !mark.found;
      }
      if (mark.found && !mark.done && (!first || mark.found.index < first.found.index)) {
        first = { kind: mark.kind, found: mark.found };
      }
    }
    if (!first) break;
    const { kind, found } = first;
    parent.append(plain(whole.slice(at, found.index)), marked(kind, found, how));
    at = found.index + found[0].length;
  }
  parent.append(plain(whole.slice(at) + text.slice(LONGEST)));
  return parent;
}

const plain = (text: string): Text => document.createTextNode(text.replace(/\\([\\`*_{}[\]()#+\-.!~|>])/g, "$1"));

function marked(kind: string, found: RegExpExecArray, how: Drawing): Node {
  switch (kind) {
    case "code":
      return h("code", {}, found[2]!.replace(/^ (.+) $/, "$1"));
    case "image":
      return image(found[1]!, found[2]!, how);
    case "link":
      return inline(anchor(found[2]!), found[1]!.replace(/https?:\/\//g, ""), how);
    case "bare":
      return h("a", outward(found[0]), found[0]);
    case "cite":
      return how.cite(Number(found[1])) ?? document.createTextNode(found[0]);
    case "break":
      return h("br");
    case "both":
      return h("strong", {}, inline(h("em"), found[1]!, how));
    default:
      return inline(h(kind as "em"), found[1]!, how);
  }
}

export const outward = (url: string): Record<string, string> => ({
  href: url,
  target: "_blank",
  rel: "noopener noreferrer nofollow",
});
const anchor = (url: string): HTMLAnchorElement => h("a", outward(url));

function image(alt: string, url: string, how: Drawing): Node {
  if (how.image(url))
    return h("img", { src: url, alt, loading: "lazy", referrerpolicy: "no-referrer", class: "shown" });
  return h("a", { ...outward(url), class: "picture" }, icon("image", 15), alt || url.replace(/^https?:\/\//, ""));
}

const drawn = new WeakMap<HTMLElement, string[]>();

// Draw `text` into `parent`, leaving the blocks that did not change: streaming stays cheap and selections survive.
export function update(parent: HTMLElement, text: string, how: Drawing, afresh = false): void {
  const next = blocks(text);
  const before = afresh ? [] : (drawn.get(parent) ?? []);
  let same = 0;
  while (same < next.length && same < before.length && next[same] === before[same]) same += 1;
  while (parent.childNodes.length > same) parent.lastChild!.remove();
  for (const source of next.slice(same)) parent.append(draw(source, how));
  drawn.set(parent, next);
}
