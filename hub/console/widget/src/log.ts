// What was said: messages in their order, the answer that is being written, notes at their feet.

import { copyButton, h, icon, iconButton } from "./dom.js";
import { update, outward, type Drawing } from "./markdown.js";
import type { Attachment, Citation, Frame, Message, Outgoing } from "./types.js";
import type { Words } from "./words.js";

const NEAR = 100; // pixels from the end that still count as reading along
const NEAR_TOP = 200;

export interface LogActs {
  say(text: string): void;
  resend(message: Outgoing): void;
  edit(message: Message): void;
  again(message: Message): void;
  older(before: number): void;
  seen(): void;
  address(path: string): string;
  mayShow(url: string): boolean;
  face(): Node;
  agent(): string;
}

interface Entry {
  node: HTMLElement;
  body: HTMLElement;
  foot: HTMLElement;
  acts: HTMLElement;
  time: HTMLTimeElement;
}

interface Live extends Entry {
  status: HTMLElement;
  steps: HTMLElement;
  turn: string;
  text: string;
}

export class Log {
  readonly node: HTMLElement;
  readonly down: HTMLButtonElement;
  #list = h("div", "list");
  #scroller: HTMLElement;
  #older: HTMLButtonElement;
  #bySeq = new Map<number, { entry: Entry; message: Message }>();
  #pending = new Map<string, { entry: Entry; message: Outgoing }>();
  #live: Live | null = null;
  #frame = 0;
  #follows = true;
  #asking = false;
  #first = Infinity; // the lowest number that was told of, shown or superseded

  constructor(
    private words: Words,
    private acts: LogActs,
    empty: Node,
  ) {
    const { say } = words;
    this.#older = h(
      "button",
      { type: "button", class: "older", hidden: true, click: () => this.#askOlder() },
      say("older"),
    );
    this.#scroller = h(
      "div",
      { class: "scroller", id: "log", role: "log", "aria-live": "off", "aria-label": say("log"), tabindex: 0 },
      h("div", "column", empty, this.#older, this.#list),
    );
    this.#scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.down = h(
      "button",
      {
        type: "button",
        class: "to-end",
        id: "down",
        "aria-label": say("down"),
        hidden: true,
        click: () => this.toEnd(true),
      },
      icon("down"),
    );
    this.node = this.#scroller;
    new ResizeObserver(() => this.#follow()).observe(this.#list);
    new ResizeObserver(() => this.#follow()).observe(this.#scroller);
  }

  get answering(): boolean {
    return this.#live !== null;
  }

  get isEmpty(): boolean {
    return this.#list.childElementCount === 0;
  }

  get last(): number {
    return Math.max(0, ...this.#bySeq.keys());
  }

  get atEnd(): boolean {
    return this.#follows;
  }

  unread(after: number): number {
    return [...this.#bySeq.values()].filter(({ message }) => message.role === "assistant" && message.seq > after)
      .length;
  }

  clear(): void {
    this.#list.replaceChildren();
    this.#bySeq.clear();
    this.#pending.clear();
    this.#live = null;
    this.#older.hidden = true;
    this.#asking = false;
    this.#follows = true;
    this.#first = Infinity;
  }

  // ---- messages ----

  // A stored message; one's own takes the place of the one that was waiting. False when it was here already.
  store(message: Message): boolean {
    if (message.client_id) this.forget(message.client_id);
    this.#first = Math.min(this.#first, message.seq);
    const reply = message.role === "assistant";
    const newest = message.seq > this.last;
    const ends = reply && message.turn_id && (newest || message.turn_id === this.#live?.turn);
    const drawn = ends ? this.#endLive() : null;
    if (this.#bySeq.has(message.seq) || message.superseded || !(reply || message.role === "user")) return false;
    if (message.edits) this.#supersede(message.edits, message.seq);
    if (newest) this.#list.querySelector(".choices")?.remove();
    const entry = this.#entry(message.role, new Date(message.created), message.sender_name);
    if (drawn) entry.body.replaceWith((entry.body = drawn.body));
    if (drawn) entry.node.classList.add("still");
    entry.node.dataset.seq = String(message.seq);
    this.#bySeq.set(message.seq, { entry, message });
    this.#fill(entry, message);
    this.#place(entry.node, message.seq);
    this.#arrange();
    this.#follow();
    return true;
  }

  // Earlier messages, without moving what is being read.
  page(messages: Message[], more: boolean): void {
    this.#asking = false;
    const before = this.#scroller.scrollHeight - this.#scroller.scrollTop;
    const follows = this.#follows;
    this.#follows = false;
    for (const message of messages) this.store(message);
    this.#older.hidden = !more;
    this.#scroller.scrollTop = this.#scroller.scrollHeight - before;
    this.#follows = follows;
  }

  // Messages up to this one are left out, since others between them were: they come back by paging.
  dropTo(seq: number): void {
    for (const [at, { entry }] of this.#bySeq) {
      if (at > seq) continue;
      entry.node.remove();
      this.#bySeq.delete(at);
    }
    this.#first = Math.min(...this.#bySeq.keys());
  }

  #fill(entry: Entry, message: Message): void {
    const { say } = this.words;
    const reply = message.role === "assistant";
    if (reply) update(entry.body, message.text, this.#drawing(message.citations), Boolean(message.citations?.length));
    else entry.body.textContent = message.text;
    if (!message.text) entry.body.remove();
    if (message.attachments?.length) entry.foot.before(this.#files(message.attachments));
    if (message.citations?.length) entry.foot.before(this.#sources(message.citations));
    if (message.quick_replies?.length && message.seq === this.last)
      entry.node.append(this.#choices(message.quick_replies));
    for (const name of new Set((message.tool_calls ?? []).map((call) => call.name))) {
      if (name) note(entry.foot, say("used", this.words.tool(name, name.replaceAll("_", " "))));
    }
    if (message.status === "refused")
      note(entry.foot, say("refused", this.words.refusal(message.reason ?? "", "")), "bad");
    if (message.finish === "stopped") note(entry.foot, say("stopped"));
    if (message.finish === "error") {
      entry.node.classList.add("broken");
      const again = (): void => this.#again(message.seq);
      entry.foot
        .querySelector(".notes")!
        .append(h("button", { type: "button", class: "link-button", click: again }, say("retry")));
    }
    this.#offer(entry, message, reply);
  }

  #offer(entry: Entry, message: Message, reply: boolean): void {
    const { say } = this.words;
    if (reply) {
      const again = iconButton("retry", say("again"), () => this.#again(message.seq), { class: "tool again" });
      entry.acts.append(
        copyButton(say("copy"), say("copied"), () => message.text),
        again,
      );
    } else if (message.text) {
      entry.acts.append(iconButton("edit", say("edit"), () => this.acts.edit(message), { class: "tool edit" }));
    }
  }

  // The question that an answer belongs to is said again.
  #again(seq: number): void {
    const asked = [...this.#bySeq.values()].filter(({ message }) => message.role === "user" && message.seq < seq);
    const found = asked.sort((one, other) => other.message.seq - one.message.seq)[0];
    if (found) this.acts.again(found.message);
  }

  #supersede(id: string, until: number): void {
    const from = this.#seqOf(id);
    if (!from) return;
    for (const [seq, { entry }] of this.#bySeq) {
      if (seq < from || seq >= until) continue;
      entry.node.remove();
      this.#bySeq.delete(seq);
    }
  }

  #seqOf(id: string): number {
    return [...this.#bySeq.values()].find(({ message }) => message.id === id)?.message.seq ?? 0;
  }

  // What an edited message will replace, while it is on its way.
  #fade(id: string | undefined, faded: boolean): void {
    const from = id ? this.#seqOf(id) : 0;
    if (!from) return;
    for (const [seq, { entry }] of this.#bySeq) if (seq >= from) entry.node.classList.toggle("superseded", faded);
  }

  #files(attachments: Attachment[]): Node {
    return h(
      "div",
      "files",
      ...attachments.map((file) => {
        const name = file.name || file.kind;
        const url = file.url ? this.acts.address(file.url) : "";
        const shown = file.kind === "image" && url && this.acts.mayShow(url);
        if (shown)
          return h("a", { ...outward(url), class: "thumb" }, h("img", { src: url, alt: name, loading: "lazy" }));
        const chip = [
          icon("file", 16),
          h("span", { class: "name", title: name }, name),
          file.size ? h("span", "size", this.words.size(file.size)) : null,
        ];
        return url ? h("a", { ...outward(url), class: "file", download: name }, ...chip) : h("span", "file", ...chip);
      }),
    );
  }

  #drawing(citations: Citation[] = []): Drawing {
    return {
      words: this.words,
      image: (url) => this.acts.mayShow(url),
      cite: (n) => {
        if (!citations[n - 1]) return null;
        const open = (event: Event): void => {
          const entry = (event.currentTarget as HTMLElement).closest(".entry");
          const source = entry?.querySelector<HTMLDetailsElement>(`.source[data-n="${n}"]`);
          if (!source) return;
          source.closest<HTMLDetailsElement>(".sources")!.open = true;
          source.open = true;
          source.querySelector("summary")!.focus();
          source.scrollIntoView({ block: "nearest" });
        };
        const label = `${this.words.say("source", n)}: ${citations[n - 1]!.title ?? ""}`;
        return h(
          "button",
          { type: "button", class: "cite", "aria-label": label, title: citations[n - 1]!.title, click: open },
          String(n),
        );
      },
    };
  }

  #sources(citations: Citation[]): Node {
    const { say } = this.words;
    const rows = citations.map((source, n) => {
      const title = source.title || source.url || say("source", n + 1);
      const web = /^https?:\/\//.test(source.url ?? "");
      const summary = h("summary", {}, h("span", "n", String(n + 1)), h("span", "name", title));
      const link = web ? h("a", outward(source.url!), source.url!.replace(/^https?:\/\//, "")) : null;
      return h(
        "details",
        { class: "source", "data-n": n + 1 },
        summary,
        h("div", "excerpt", source.text && h("p", {}, source.text), link),
      );
    });
    return h(
      "details",
      "sources",
      h("summary", {}, icon("chevron", 14), `${say("sources")} · ${rows.length}`),
      h("div", "rows", ...rows),
    );
  }

  #choices(labels: string[]): Node {
    const row = h(
      "div",
      "choices",
      ...labels.map((label) =>
        h(
          "button",
          {
            type: "button",
            class: "choice",
            click: () => {
              row.remove();
              this.acts.say(label);
            },
          },
          label,
        ),
      ),
    );
    return row;
  }

  has(seq: number): boolean {
    return this.#bySeq.has(seq);
  }

  // A message that waits for its acknowledgement.
  pend(message: Outgoing): void {
    if (this.#pending.has(message.id)) return;
    const entry = this.#entry("user", new Date(message.at));
    entry.node.classList.add("pending");
    entry.body.textContent = message.text;
    if (!message.text) entry.body.remove();
    if (message.attachments?.length) entry.foot.before(this.#files(message.attachments));
    note(entry.foot, this.words.say("waiting"));
    this.#pending.set(message.id, { entry, message });
    this.#list.querySelector(".choices")?.remove();
    this.#fade(message.edits, true);
    this.#list.append(entry.node);
    this.#arrange();
    this.toEnd();
  }

  forget(id: string): void {
    this.#pending.get(id)?.entry.node.remove();
    this.#pending.delete(id);
  }

  fail(message: Outgoing, reason: string): void {
    this.#fade(this.#pending.get(message.id)?.message.edits, false);
    this.pend(message);
    const { entry } = this.#pending.get(message.id)!;
    entry.node.classList.add("failed");
    const notes = entry.foot.querySelector(".notes")!;
    notes.replaceChildren();
    note(entry.foot, this.words.say("failed", reason), "bad");
    const again = (): void => {
      this.forget(message.id);
      this.acts.resend(message);
    };
    notes.append(h("button", { type: "button", class: "link-button", click: again }, this.words.say("retry")));
  }

  // A word to the message with this number, such as that a person will answer.
  remark(seq: number, text: string, tone = ""): void {
    const found = this.#bySeq.get(seq);
    if (found && !found.entry.foot.textContent?.includes(text)) note(found.entry.foot, text, tone);
  }

  // ---- the running answer ----

  begin(turn: string): void {
    if (this.#live && (this.#live.turn === turn || !this.#live.turn)) {
      this.#live.turn = turn;
      return;
    }
    this.#endLive();
    const entry = this.#entry("assistant", new Date());
    entry.node.classList.add("live");
    entry.node.setAttribute("aria-busy", "true");
    entry.time.remove();
    const status = h(
      "p",
      "doing",
      h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")),
      h("span", {}, this.words.say("thinking")),
    );
    const steps = h("div", "steps");
    entry.body.before(steps);
    entry.body.after(status);
    this.#live = { ...entry, status, steps, turn, text: "" };
    this.#list.append(entry.node);
    this.#arrange();
    this.#follow();
  }

  // An answer is due: say so before its first word.
  expect(after: number): void {
    if (this.last <= after) this.begin(this.#live?.turn ?? "");
  }

  text(text: string, replace = false): void {
    if (!this.#live) this.begin("");
    const live = this.#live!;
    live.text = replace ? text : live.text + text;
    live.status.hidden = Boolean(live.text);
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#drawLive());
  }

  doing(frame: Frame): void {
    if (!this.#live) this.begin("");
    const live = this.#live!;
    const { say } = this.words;
    const label = frame.state === "tool" ? this.words.tool(frame.detail ?? "", frame.label ?? "") : (frame.detail ?? "");
    if (frame.state === "tool" && frame.phase) this.#step(live, frame.call || label, label, frame.phase);
    const state = frame.state === "tool" && frame.phase ? "thinking" : (frame.state ?? ""); // a step says which tool
    live.status.hidden = false;
    const words = this.words.knows(state) ? say(state, label) : frame.label || label;
    live.status.lastChild!.textContent = words;
    this.#follow();
  }

  #step(live: Live, call: string, label: string, phase: string): void {
    let step = [...live.steps.children].find((node) => (node as HTMLElement).dataset.call === call) as
      HTMLElement | undefined;
    if (!step) {
      step = h("span", { class: "step", "data-call": call }, icon("busy", 14), h("span", {}, label));
      live.steps.append(step);
    }
    step.dataset.phase = phase;
    step.firstChild!.replaceWith(icon(phase === "finished" ? "done" : phase === "failed" ? "warn" : "busy", 14));
  }

  // All that is known of the answer; what is missing, if anything is, comes with the stored one.
  gap(text: string, whole: boolean): void {
    this.text(text, true);
    const live = this.#live!;
    if (whole) live.node.querySelector(".gap")?.remove();
    else if (!live.node.querySelector(".gap")) live.body.before(h("p", "gap", this.words.say("gap")));
  }

  #drawLive(): void {
    this.#frame = 0;
    if (!this.#live) return;
    update(this.#live.body, this.#live.text, this.#drawing());
    this.#follow();
  }

  #endLive(): Live | null {
    const live = this.#live;
    live?.node.remove();
    this.#live = null;
    return live;
  }

  // Nothing more will come of the answer that was expected.
  giveUp(): void {
    if (this.#live && !this.#live.text && !this.#live.turn) this.#endLive();
  }

  // ---- places ----

  #entry(role: string, date: Date, name = ""): Entry {
    const { say, time, moment, day } = this.words;
    const reply = role === "assistant";
    const clock = h("time", { datetime: date.toISOString(), title: moment(date) }, time(date));
    const body = h("div", "body");
    const acts = h("span", "acts");
    const foot = h("div", "foot", clock, h("span", "notes"), acts);
    const who = reply ? this.acts.agent() : name || say("you");
    const node = h(
      "article",
      { class: `entry ${reply ? "assistant" : "user"}`, "aria-label": `${who}, ${time(date)}`, "data-day": day(date) },
      reply && h("div", { class: "face", "aria-hidden": "true" }, this.acts.face()),
      body,
      foot,
    );
    return { node, body, foot, acts, time: clock };
  }

  // By seq among the stored; what waits and what is being written stays below.
  #place(node: HTMLElement, seq: number): void {
    let before: HTMLElement | null = null;
    let best = Infinity;
    for (const [other, { entry }] of this.#bySeq) {
      if (other > seq && other < best && entry.node !== node) [best, before] = [other, entry.node];
    }
    before ??= this.#list.querySelector(":scope > .pending, :scope > .live");
    this.#list.insertBefore(node, before);
  }

  // Days between the messages, and which of them is the latest answer.
  #arrange(): void {
    let last = "";
    let answer: Element | null = null;
    for (const node of [...this.#list.children] as HTMLElement[]) {
      node.classList.remove("latest");
      if (node.classList.contains("day")) node.remove();
      else if (node.dataset.day !== last) {
        last = node.dataset.day ?? "";
        node.before(h("div", "day", last));
      }
      if (node.classList.contains("entry")) answer = node;
    }
    answer?.classList.add("latest");
    if (this.#bySeq.size && !this.#asking) this.#older.hidden = this.#first <= 1;
  }

  #askOlder(): void {
    if (this.#asking || this.#older.hidden) return;
    this.#asking = true;
    this.acts.older(this.#first);
    setTimeout(() => (this.#asking = false), 8000); // the line may have been lost with the question
  }

  toEnd(smooth = false): void {
    this.#follows = true;
    if (this.isEmpty) return; // a greeting is read from its beginning
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.#scroller.scrollTo({ top: this.#scroller.scrollHeight, behavior: smooth && !calm ? "smooth" : "instant" });
  }

  #follow(): void {
    if (this.#follows && !this.isEmpty) this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  #scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#follows = scrollHeight - scrollTop - clientHeight < NEAR;
    this.down.hidden = this.#follows;
    // Who follows the end has not scrolled up: what comes first only fills the page, and is near both of its ends.
    if (!this.#follows && scrollTop < NEAR_TOP && scrollHeight > clientHeight) this.#askOlder();
    if (this.#follows) this.acts.seen();
  }
}

function note(foot: HTMLElement, text: string, tone = ""): void {
  foot.querySelector(".notes")!.append(h("span", `note ${tone}`.trim(), text));
}
