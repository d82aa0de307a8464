// `<hub-chat>`: the launcher and its panel on any page, or the whole page (`mode="page"`). Everything is in a shadow
// root with adopted style sheets: the page's styles stay out, and a strict content security policy is kept.

import { Chat } from "./chat.js";
import { isColour, shades } from "./colours.js";
import { h, icon } from "./dom.js";
import css from "./styles.css";
import { PLAIN, type Settings } from "./types.js";
import { words, type Words } from "./words.js";

const PHONE = "(max-width: 480px)";
const DARK = "(prefers-color-scheme: dark)";
const FOCUSABLE =
  "button:not([hidden],:disabled), a[href], input:not([hidden],:disabled), textarea:not(:disabled), select, summary, [tabindex='0']";
const SETTINGS_SECONDS = 10;
const HANDOVER_SECONDS = 1;
const PATIENCE_SECONDS = 0.8;
const COLOUR = "#1d5fd6";
const HOST_SETTINGS = ["title", "agent", "greeting", "colour", "theme", "position"] as const;

let sheet: CSSStyleSheet | undefined;
let home = "";

// Where the script came from, which is where the hub is unless the page says otherwise.
export function setHome(address: string): void {
  home = address;
}

export class HubChat extends HTMLElement {
  #root: ShadowRoot;
  #frame = h("div", "frame");
  #chat: Chat | null = null;
  #launcher: HTMLButtonElement | null = null;
  #words: Words = words();
  #opened = false;
  #life = new AbortController();
  #identity = "";
  #settings: Settings = PLAIN;
  #ready = false;

  constructor() {
    super();
    this.#root = this.attachShadow({ mode: "open", delegatesFocus: false });
    sheet ??= new CSSStyleSheet();
    if (!sheet.cssRules.length) sheet.replaceSync(css);
    this.#root.adoptedStyleSheets = [sheet];
    this.#root.append(this.#frame);
  }

  connectedCallback(): void {
    if (this.#chat || this.#ready) return;
    this.#ready = true;
    this.#life = new AbortController();
    this.#build(this.getAttribute("language") ?? "");
    // Nothing is shown in colours that change a moment later.
    const known = !this.#publicId || Boolean(this.#chat!.store.kept.settings);
    this.#frame.classList.toggle("waiting", !known);
    const show = (): void => this.#frame.classList.remove("waiting");
    setTimeout(show, PATIENCE_SECONDS * 1000);
    void this.#fetchSettings().finally(show);
  }

  disconnectedCallback(): void {
    // Moving an element disconnects it for a moment; only what stays away ends.
    queueMicrotask(() => {
      if (!this.isConnected) this.#end();
    });
  }

  // ---- the page's interface ----

  get isOpen(): boolean {
    return this.#opened;
  }

  get unread(): number {
    return this.#chat?.unread ?? 0;
  }

  open(): void {
    this.#toggle(true);
  }

  close(): void {
    this.#toggle(false);
  }

  toggle(): void {
    this.#toggle(!this.#opened);
  }

  // Says something in the visitor's name. False when it is empty or too much waits already.
  send(text: string): boolean {
    return this.#chat?.say(String(text)) ?? false;
  }

  // Who the visitor is, by a token that the site's own server has signed.
  identify(token: string): void {
    this.#identity = token;
    if (!this.#chat) return;
    void this.#chat.line.identify(token).catch(() => {});
    this.#begin();
  }

  // Calls `listener` with an event's detail; the answer ends that.
  on(event: string, listener: (detail: unknown) => void): () => void {
    const heard = (found: Event): void => listener((found as CustomEvent).detail);
    this.addEventListener(`hub-chat:${event}`, heard);
    return () => this.removeEventListener(`hub-chat:${event}`, heard);
  }

  destroy(): void {
    this.#end();
    this.remove();
  }

  // ---- building ----

  get #page(): boolean {
    return this.getAttribute("mode") === "page";
  }

  get #base(): string {
    return (this.getAttribute("base") || home || location.origin).replace(/\/+$/, "");
  }

  get #publicId(): string {
    return this.getAttribute("connection") ?? "";
  }

  #build(language: string): void {
    this.#words = words(language);
    this.#chat?.destroy();
    this.#chat = null;
    this.#launcher = null;
    this.#frame.replaceChildren();
    this.#frame.lang = this.#words.tag;
    this.#frame.className = `frame ${this.#page ? "page" : "widget"}`;
    const chat = new Chat({
      base: this.#base,
      publicId: this.#publicId,
      words: this.#words,
      given: () => this.#given(),
      page: this.#page,
      opener: this.getAttribute("opener") ?? "",
      visible: () => this.#opened && !document.hidden,
      close: () => this.close(),
      popOut: () => this.#popOut(),
      painted: (settings) => this.#paint(settings),
      tell: (event, detail) => this.#tell(event, detail),
    });
    this.#chat = chat;
    chat.apply({});
    chat.line.identity = this.#identity;
    const { panel } = chat;
    this.#frame.append(panel.node);
    this.#life.abort();
    this.#life = new AbortController();
    this.#listen(panel.node);
    if (this.#page) return this.#asPage(chat);
    panel.node.hidden = !this.#opened;
    panel.node.setAttribute("role", "dialog");
    this.#launcher = this.#makeLauncher();
    this.#frame.append(this.#launcher);
  }

  #asPage(chat: Chat): void {
    this.#opened = true;
    this.#entitle();
    document.documentElement.lang = this.#words.tag;
    if (!this.#publicId) return chat.unavailable(this.#words.say("missing"));
    void this.#inherit(chat).then(() => chat.line.open());
    chat.focus();
  }

  // The window that a widget has opened goes on with the widget's visitor. The hub names the opener's origin only where
  // it is one of the connection's; a token goes from window to window, never in an address.
  async #inherit(chat: Chat): Promise<void> {
    const origin = this.getAttribute("opener");
    const opener = window.opener as Window | null;
    if (!origin || !opener) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, HANDOVER_SECONDS * 1000);
      const heard = ({
        source,
        origin: from,
        data,
      }: MessageEvent<{ hubChat?: string; token?: unknown; session?: unknown }>): void => {
        if (source !== opener || from !== origin || data?.hubChat !== "visitor") return;
        if (data.token && data.session) chat.store.keep({ token: String(data.token), session: String(data.session) });
        clearTimeout(timer);
        resolve();
      };
      addEventListener("message", heard, { signal: this.#life.signal });
      opener.postMessage({ hubChat: "hello" }, origin);
    });
  }

  #makeLauncher(): HTMLButtonElement {
    const button = h(
      "button",
      {
        type: "button",
        class: "launcher",
        id: "launcher",
        "aria-haspopup": "dialog",
        hidden: true,
        click: () => this.toggle(),
      },
      icon("chat", 30),
      icon("chevron", 26),
      h("span", { class: "badge", id: "badge", hidden: true, "aria-hidden": "true" }),
    );
    return button;
  }

  #listen(panel: HTMLElement): void {
    const { signal } = this.#life;
    panel.addEventListener("keydown", (event) => this.#key(event), { signal });
    document.addEventListener("visibilitychange", () => this.#chat?.seen(), { signal });
    const dark = matchMedia(DARK);
    dark.addEventListener("change", () => this.#paint(this.#settings), { signal });
    matchMedia(PHONE).addEventListener("change", () => this.#fit(), { signal });
    // The keyboard of a phone covers the page without resizing it.
    visualViewport?.addEventListener("resize", () => this.#fit(), { signal });
  }

  #given(): Partial<Settings> {
    const given: Record<string, unknown> = {};
    for (const name of HOST_SETTINGS) {
      const value = this.getAttribute(name) ?? (name === "title" ? this.getAttribute("heading") : null);
      if (value) given[name] = value;
    }
    const suggestions = this.getAttribute("suggestions");
    if (suggestions)
      given.suggestions = suggestions
        .split("\n")
        .map((line) => line.trim())
        .filter(Boolean);
    return given as Partial<Settings>;
  }

  async #fetchSettings(): Promise<void> {
    if (!this.#publicId) return;
    if (this.#launcher && this.#chat?.store.kept.settings) this.#launcher.hidden = false;
    const answer = await this.#ask();
    if (!this.isConnected || !this.#chat) return;
    if (answer === "refused") {
      // No launcher for a chat that nobody may open here; on the page the line finds out and says so.
      if (this.#launcher) this.#launcher.hidden = true;
      this.#tell("error", { code: "refused", message: "this chat may not be opened from here" });
      return;
    }
    if (!answer && !this.#page && !this.#chat.store.kept.settings) {
      // A hub that was never reached: nothing to show until the network is back.
      addEventListener("online", () => void this.#fetchSettings(), { once: true, signal: this.#life.signal });
      return;
    }
    if (answer) {
      const wanted = this.getAttribute("language") || answer.language || "";
      if (words(wanted).language !== this.#words.language) this.#build(wanted);
      this.#chat.store.keep({ settings: answer });
      this.#chat.apply(answer);
    }
    this.#shown();
  }

  async #ask(): Promise<Partial<Settings> | "refused" | null> {
    try {
      const address = `${this.#base}/sse/chat/${encodeURIComponent(this.#publicId)}/settings`;
      const response = await fetch(address, {
        signal: AbortSignal.timeout(SETTINGS_SECONDS * 1000),
        credentials: "omit",
      });
      if (response.status === 403 || response.status === 404) return "refused";
      return response.ok ? ((await response.json()) as Partial<Settings>) : null;
    } catch {
      return null; // away for now: what was kept from the last time does
    }
  }

  #shown(): void {
    if (this.#launcher) this.#launcher.hidden = false;
    const kept = this.#chat?.store.kept;
    const wide = !matchMedia(PHONE).matches;
    if (!this.#page && (this.hasAttribute("open") || (kept?.opened && wide))) this.#toggle(true, false);
    else if (kept?.session || this.#identity) this.#begin();
    this.#tell("ready");
  }

  // A line is held for those who have a conversation or look at the panel: others only see a button.
  #begin(): void {
    this.#chat?.line.open();
  }

  #end(): void {
    this.#life.abort();
    this.#chat?.destroy();
    this.#chat = null;
    this.#launcher = null;
    this.#frame.replaceChildren();
    this.#ready = false;
    this.#opened = false;
  }

  // ---- opening and closing ----

  #toggle(opened: boolean, focus = true): void {
    const chat = this.#chat;
    if (!chat || this.#page || opened === this.#opened) return;
    this.#opened = opened;
    const { node } = chat.panel;
    node.hidden = !opened;
    this.#frame.classList.toggle("opened", opened);
    chat.store.keep({ opened });
    this.#label();
    this.#fit();
    if (opened) {
      this.#begin();
      chat.toEnd();
      if (focus) chat.focus();
      chat.seen();
    } else this.#launcher?.focus({ preventScroll: true });
    this.#tell(opened ? "open" : "close");
  }

  #label(): void {
    const { unread } = this;
    const { say } = this.#words;
    const button = this.#launcher;
    if (!button) return;
    const badge = button.querySelector<HTMLElement>(".badge")!;
    badge.hidden = !unread || this.#opened;
    badge.textContent = unread > 99 ? "99+" : String(unread);
    button.setAttribute("aria-expanded", String(this.#opened));
    button.setAttribute("aria-label", this.#opened ? say("close") : unread ? say("openUnread", unread) : say("open"));
  }

  // On a phone the panel is the screen: then it is modal, and as high as the keyboard leaves it.
  #fit(): void {
    const node = this.#chat?.panel.node;
    if (!node || this.#page) return;
    const modal = this.#modal;
    if (modal) node.setAttribute("aria-modal", "true");
    else node.removeAttribute("aria-modal");
    const height = modal && visualViewport ? `${visualViewport.height}px` : "";
    this.#frame.style.setProperty("--height", height);
  }

  get #modal(): boolean {
    return this.#opened && !this.#page && matchMedia(PHONE).matches;
  }

  #key(event: KeyboardEvent): void {
    const chat = this.#chat;
    if (!chat || event.isComposing) return;
    if (event.key === "Escape") {
      event.stopPropagation();
      if (chat.cancelEdit()) return;
      if (this.#page && chat.answering) chat.stop();
      else if (!this.#page) this.close();
    } else if (event.key === "Tab" && this.#modal) this.#wrap(event);
  }

  // Focus stays in a panel that covers the page.
  #wrap(event: KeyboardEvent): void {
    const all = [...this.#root.querySelectorAll<HTMLElement>(`.panel :is(${FOCUSABLE})`)].filter(
      (node) => node.offsetParent,
    );
    const [first, last] = [all[0], all.at(-1)];
    const now = this.#root.activeElement;
    if (now !== (event.shiftKey ? first : last)) return;
    event.preventDefault();
    (event.shiftKey ? last : first)?.focus();
  }

  #popOut(): void {
    const address = `${this.#base}/chat/${encodeURIComponent(this.#publicId)}`;
    const child = window.open(address, `hub-chat-${this.#publicId}`, "popup,width=460,height=760");
    if (!child) return; // the browser has forbidden it
    const hub = new URL(this.#base).origin;
    addEventListener(
      "message",
      ({ source, origin, data }: MessageEvent<{ hubChat?: string }>) => {
        if (source !== child || origin !== hub || data?.hubChat !== "hello" || !this.#chat) return;
        const { token, session } = this.#chat.store.kept;
        child.postMessage({ hubChat: "visitor", token, session }, hub);
      },
      { signal: this.#life.signal },
    );
    this.close();
  }

  // ---- looks and events ----

  #paint(settings: Settings): void {
    this.#settings = settings;
    const { theme, colour, position } = settings;
    const dark = theme === "dark" || (theme !== "light" && matchMedia(DARK).matches);
    const found = shades(isColour(colour) ? colour : COLOUR, dark);
    for (const [name, value] of Object.entries(found)) this.#frame.style.setProperty(`--${name}`, value);
    this.#frame.classList.toggle("dark", dark);
    this.#frame.classList.toggle("left", position === "left");
    this.#entitle();
  }

  // The page's tab tells what came while nobody looked.
  #entitle(): void {
    if (!this.#page) return;
    const { unread } = this;
    document.title = (unread ? `(${unread}) ` : "") + (this.#settings.title || this.#words.say("chat"));
  }

  #tell(event: string, detail: unknown = null): void {
    if (event === "unread") {
      this.#label();
      this.#entitle();
    }
    this.dispatchEvent(new CustomEvent(`hub-chat:${event}`, { detail, bubbles: true, composed: true }));
  }
}
