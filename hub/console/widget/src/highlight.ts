// Four colours for code, good enough for every language people paste: comments, strings, numbers, keywords.

const HASH =
  /^(py|python|rb|ruby|sh|bash|zsh|shell|console|yaml|yml|toml|ini|dockerfile|make|makefile|perl|r|elixir)$/i;
const DASH = /^(sql|lua|haskell|hs|ada|elm)$/i;
const PLAIN = /^(text|txt|plain|plaintext|diff|markdown|md|csv|log)?$/i;
const STRING = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/.source;
const WORDS =
  "abstract as async await break case catch class const continue def default del do elif else enum except export extends false False final finally fn for foreach from func function global if impl import in interface is lambda let match mod module mut namespace new nil None not null or and package pass private protected pub public raise return self static struct super switch this throw true True try type typeof undefined union use using var void where while with yield SELECT FROM WHERE INSERT INTO VALUES UPDATE SET DELETE CREATE TABLE INDEX JOIN LEFT INNER ON GROUP ORDER BY LIMIT AND OR NOT NULL AS DISTINCT HAVING then fi done echo";
const KEYWORDS = new Set(WORDS.split(" "));
const MOST = 20_000;

export function colour(code: HTMLElement, text: string, language: string): void {
  code.textContent = text;
  if (PLAIN.test(language) || text.length > MOST) return;
  const comment = HASH.test(language)
    ? "#.*"
    : DASH.test(language)
      ? "--.*"
      : "\\/\\/.*|\\/\\*[\\s\\S]*?\\*\\/|<!--[\\s\\S]*?-->";
  const token = new RegExp(`(${comment})|("""[\\s\\S]*?"""|${STRING})|(\\b\\d[\\w.]*)|([A-Za-z_]\\w*)`, "g");
  const parts: Node[] = [];
  let at = 0;
  for (const found of text.matchAll(token)) {
    const kind = found[1] ? "c" : found[2] ? "s" : found[3] ? "n" : KEYWORDS.has(found[4]!) ? "k" : "";
    if (!kind) continue;
    const span = document.createElement("span");
    span.className = kind;
    span.textContent = found[0];
    parts.push(document.createTextNode(text.slice(at, found.index)), span);
    at = found.index + found[0].length;
  }
  code.replaceChildren(...parts, text.slice(at));
}
