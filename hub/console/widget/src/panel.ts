// The frame around a conversation: head, log, notices, composer. It shows; `chat.ts` decides.

import { h, icon, iconButton, type IconName } from "./dom.js";
import type { Settings } from "./types.js";
import type { Words } from "./words.js";

export interface PanelActs {
  close(): void;
  popOut(): void;
  anew(): void;
  say(text: string): void;
  drop(files: File[]): void;
  address(path: string): string;
}

export class Panel {
  readonly node: HTMLElement;
  readonly empty: HTMLElement;
  #head: HTMLElement;
  #title: HTMLElement;
  #face: HTMLElement;
  #state: HTMLElement;
  #notice: HTMLElement;
  #anew: HTMLButtonElement;
  #announcer: HTMLElement;
  #welcome: HTMLElement;
  #asked: HTMLElement | null = null;
  #settings: Settings | null = null;
  #noticeTimer = 0;
  #middle = h("div", "middle");

  constructor(
    private words: Words,
    private acts: PanelActs,
    page: boolean,
  ) {
    const { say } = words;
    this.#face = h("div", { class: "face big", "aria-hidden": "true" });
    this.#title = h("h1", { class: "title" }, say("assistant"));
    this.#state = h("span", { class: "link", id: "link", role: "status", "data-state": "resting" }, h("i"), h("span"));
    const button = (name: IconName, label: string, act: () => void, id: string): HTMLButtonElement =>
      iconButton(name, label, act, { id });
    this.#anew = button("anew", say("anew"), () => this.#askAnew(), "anew");
    this.#anew.hidden = true;
    this.#head = h(
      "header",
      "top",
      this.#face,
      h("div", "names", this.#title, this.#state),
      h(
        "div",
        "tools",
        this.#anew,
        !page && button("popout", say("popout"), () => acts.popOut(), "popout"),
        !page && button("close", say("close"), () => acts.close(), "close"),
      ),
    );
    this.#notice = h("div", { class: "notice", role: "status", hidden: true });
    this.#announcer = h("div", { class: "unseen", id: "announcer", "aria-live": "polite", "aria-atomic": "true" });
    this.#welcome = h("div", "welcome");
    this.empty = h("div", { class: "empty", id: "empty", hidden: true }, this.#welcome);
    this.node = h("section", { class: "panel", "aria-label": say("chat"), tabindex: -1 });
    this.#listenForFiles();
  }

  fill(log: HTMLElement, down: HTMLElement, composer: HTMLElement): void {
    const veil = h("div", { class: "veil", "aria-hidden": "true" }, icon("clip", 22), this.words.say("drop"));
    this.#middle.append(log, down);
    this.node.append(this.#head, this.#middle, this.#notice, composer, this.#announcer, veil);
  }

  paint(settings: Settings): void {
    if (JSON.stringify(settings) === JSON.stringify(this.#settings)) return;
    this.#settings = settings;
    const { say } = this.words;
    this.#title.textContent = this.name;
    this.#sayState();
    this.#face.replaceChildren(this.face());
    const chips = settings.suggestions.map((text) =>
      h(
        "button",
        { type: "button", class: "suggestion", click: () => this.acts.say(text) },
        h("span", {}, text),
        icon("send", 16),
      ),
    );
    this.#welcome.replaceChildren(
      h("div", { class: "face huge", "aria-hidden": "true" }, this.face()),
      h("h2", {}, settings.greeting ? settings.greeting.split("\n")[0]! : say("greeting")),
      h("p", {}, settings.greeting ? settings.greeting.split("\n").slice(1).join("\n") : say("empty")),
      h("div", { class: "suggestions", role: "group", "aria-label": say("suggestions") }, ...chips),
    );
  }

  // The tenant's logo, else its initial or the agent's, else a speech bubble.
  face(): Node {
    const { logo = "" } = this.#settings ?? {};
    if (logo) return h("img", { src: this.acts.address(logo), alt: "" });
    const name = this.name.trim();
    return name !== this.words.say("assistant") ? h("span", {}, [...name][0]!.toUpperCase()) : icon("chat", 20);
  }

  // What stands at the head: the tenant's title, else who answers.
  get name(): string {
    return this.#settings?.title || this.agent;
  }

  // Who answers; an agent that nobody has named is called so in the visitor's language.
  get agent(): string {
    const name = this.#settings?.agent || this.#settings?.title || "";
    return !name || name === "assistant" ? this.words.say("assistant") : name;
  }

  state(state: string): void {
    this.#state.dataset.state = state;
    this.#sayState();
  }

  // With who answers, where the head names somebody else.
  #sayState(): void {
    const { words } = this;
    const state = this.#state.dataset.state ?? "";
    const who = state === "closed" || this.name === this.agent || this.agent === words.say("assistant") ? "" : this.agent;
    this.#state.lastElementChild!.textContent = [who, words.knows(state) && words.say(state)].filter(Boolean).join(" · ");
  }

  // Instead of a greeting: why nobody can be asked here.
  close(text: string): void {
    this.#welcome.replaceChildren(h("div", { class: "face huge", "aria-hidden": "true" }, icon("chat", 20)), h("h2", {}, text));
  }

  session(begun: boolean): void {
    this.#anew.hidden = !begun;
  }

  // A form in the place of the greeting, or none.
  ask(form: HTMLElement | null): void {
    this.#asked?.remove();
    this.#asked = form;
    this.#welcome.classList.toggle("with-form", Boolean(form));
    if (form) this.empty.append(form);
  }

  announce(text: string): void {
    this.#announcer.textContent = "";
    setTimeout(() => (this.#announcer.textContent = text), 60);
  }

  // A word above the composer; for `seconds`, or until the next one.
  notice(text: string, { seconds = 0, tone = "" } = {}): void {
    clearTimeout(this.#noticeTimer);
    this.#notice.hidden = !text;
    this.#notice.className = `notice ${tone}`.trim();
    this.#notice.replaceChildren(text && tone === "bad" ? icon("warn", 16) : "", text);
    if (seconds) this.#noticeTimer = setTimeout(() => this.notice(""), seconds * 1000);
  }

  // Asks before a conversation is forgotten; within the panel, since pages may forbid dialogs of the browser.
  #askAnew(): void {
    const { say } = this.words;
    const done = (yes: boolean): void => {
      this.notice("");
      this.#anew.focus();
      if (yes) this.acts.anew();
    };
    this.notice(say("anewAsk"));
    const yes = h("button", { type: "button", class: "primary small", click: () => done(true) }, say("yes"));
    this.#notice.append(
      h(
        "span",
        "answers",
        h("button", { type: "button", class: "link-button", click: () => done(false) }, say("no")),
        yes,
      ),
    );
    yes.focus();
  }

  #listenForFiles(): void {
    let depth = 0;
    const over = (by: number): void => {
      depth = Math.max(0, depth + by);
      this.node.classList.toggle("dropping", depth > 0 && Boolean(this.#settings?.uploads));
    };
    const files = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
    this.node.addEventListener("dragenter", (event) => files(event) && over(1));
    this.node.addEventListener("dragleave", (event) => files(event) && over(-1));
    this.node.addEventListener("dragover", (event) => files(event) && event.preventDefault());
    this.node.addEventListener("drop", (event) => {
      if (!files(event)) return;
      event.preventDefault();
      over(-depth);
      this.acts.drop([...event.dataTransfer!.files]);
    });
  }
}
