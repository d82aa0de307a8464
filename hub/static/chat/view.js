// What is on the page: messages in their order, the answer that is being written, notices between them.

import { update } from "./markdown.js";
import { dayOf, say, timeOf } from "./words.js";

const NEAR = 120; // pixels from the end that still count as reading along

export class View {
  #log = document.getElementById("log");
  #scroller = document.getElementById("scroller");
  #down = document.getElementById("down");
  #empty = document.getElementById("empty");
  #bySeq = new Map();
  #pending = new Map();
  #live = null;
  #frame = 0;
  #follows = true;

  constructor() {
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#down.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.#follow()).observe(this.#log);
  }

  get answering() {
    return this.#live !== null;
  }

  clear() {
    this.#log.replaceChildren();
    this.#bySeq.clear();
    this.#pending.clear();
    this.#live = null;
    this.showEmpty(false);
  }

  showEmpty(shown) {
    this.#empty.hidden = !shown || this.#log.childElementCount > 0;
  }

  // ---- messages ----

  // A stored message; the visitor's own takes the place of the one that was waiting.
  store(message) {
    const own = message.client_id ? this.#pending.get(message.client_id) : null;
    if (own) this.forget(message.client_id);
    if (message.role === "assistant" && message.turn_id) this.#endLive();
    if (this.#bySeq.has(message.seq) || !["user", "assistant"].includes(message.role)) return;
    const entry = this.#entry(message.role, new Date(message.created));
    entry.node.dataset.seq = message.seq;
    this.#fill(entry, message);
    this.#bySeq.set(message.seq, entry.node);
    this.#place(entry.node, message.seq);
    this.#days();
    this.showEmpty(false);
    if (message.role === "user") this.#follow();
  }

  #fill(entry, message) {
    if (message.role === "assistant") update(entry.body, message.text);
    else entry.body.textContent = message.text;
    for (const file of message.attachments ?? []) entry.node.append(chip(file.name || file.kind));
    if (message.status === "refused") note(entry.foot, say("refused", message.reason ?? ""), "bad");
    if (message.finish === "stopped") note(entry.foot, say("stopped"));
    if (message.quick_replies?.length) entry.node.append(this.#choices(message.quick_replies));
  }

  #choices(labels) {
    const row = node("div", "choices");
    for (const label of labels) {
      const button = node("button", "choice", label);
      button.type = "button";
      button.addEventListener("click", () => {
        row.remove();
        document.dispatchEvent(new CustomEvent("choice", { detail: label }));
      });
      row.append(button);
    }
    return row;
  }

  has(seq) {
    return this.#bySeq.has(seq);
  }

  // A message that waits for its acknowledgement.
  pend(message) {
    if (this.#pending.has(message.id)) return;
    const entry = this.#entry("user", new Date(message.at));
    entry.node.classList.add("pending");
    entry.body.textContent = message.text;
    note(entry.foot, say("waiting"));
    this.#pending.set(message.id, entry);
    this.#log.append(entry.node);
    this.#days();
    this.showEmpty(false);
    this.toEnd();
  }

  forget(id) {
    this.#pending.get(id)?.node.remove();
    this.#pending.delete(id);
  }

  fail(id, reason, again) {
    const entry = this.#pending.get(id);
    if (!entry) return;
    entry.foot.replaceChildren(entry.foot.firstChild);
    note(entry.foot, say("failed", reason), "bad");
    const button = node("button", "quiet", say("retry"));
    button.type = "button";
    button.addEventListener("click", () => {
      this.forget(id);
      again();
    });
    entry.foot.append(button);
  }

  // ---- the running answer ----

  begin(turn) {
    if (this.#live && this.#live.turn === turn) return;
    this.#endLive();
    const entry = this.#entry("assistant", new Date());
    entry.node.classList.add("live");
    entry.node.setAttribute("aria-busy", "true");
    const status = node("p", "doing");
    status.setAttribute("role", "status");
    status.append(node("span", "dots"), node("span", "", say("thinking")));
    entry.body.after(status);
    this.#live = { ...entry, status, turn, text: "" };
    this.#log.append(entry.node);
    this.#days();
    this.showEmpty(false);
    this.#follow();
  }

  text(text, { replace = false } = {}) {
    if (!this.#live) this.begin("");
    this.#live.text = replace ? text : this.#live.text + text;
    this.#live.status.hidden = Boolean(this.#live.text);
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#drawLive());
  }

  doing(state, detail) {
    if (!this.#live) this.begin("");
    this.#live.status.hidden = false;
    this.#live.status.lastChild.textContent = say(state, detail ?? "");
  }

  gap(text) {
    this.text(text, { replace: true });
    if (!this.#live.node.querySelector(".gap")) this.#live.body.before(node("p", "gap", say("gap")));
  }

  #drawLive() {
    this.#frame = 0;
    if (!this.#live) return;
    update(this.#live.body, this.#live.text);
    this.#follow();
  }

  #endLive() {
    this.#live?.node.remove();
    this.#live = null;
  }

  // ---- places ----

  #entry(role, date) {
    const entry = node("li", `entry ${role}`);
    const who = node("span", "who", say(role === "user" ? "you" : "assistant"));
    const body = node("div", "body");
    const foot = node("div", "foot");
    const time = node("time", "", timeOf(date));
    time.dateTime = date.toISOString();
    entry.dataset.day = dayOf(date);
    foot.append(time);
    entry.append(who, body, foot);
    return { node: entry, body, foot };
  }

  // By seq among the stored; what waits and what is being written stays below.
  #place(entry, seq) {
    let before = null;
    for (const [other, place] of this.#bySeq) {
      if (other > seq && (!before || Number(before.dataset.seq) > other)) before = place;
    }
    before ??= this.#log.querySelector(".pending, .live");
    this.#log.insertBefore(entry, before);
  }

  #days() {
    let last = "";
    for (const entry of [...this.#log.children]) {
      if (entry.classList.contains("day")) entry.remove();
    }
    for (const entry of [...this.#log.children]) {
      if (entry.dataset.day !== last) {
        last = entry.dataset.day;
        this.#log.insertBefore(node("li", "day", last), entry);
      }
    }
  }

  toEnd() {
    this.#follows = true;
    this.#follow();
  }

  #follow() {
    if (this.#follows) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#follows = scrollHeight - scrollTop - clientHeight < NEAR;
    this.#down.hidden = this.#follows;
  }
}

function node(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

function note(foot, text, tone = "") {
  foot.append(node("span", `note ${tone}`.trim(), text));
}

const chip = (text) => node("span", "file", text);
