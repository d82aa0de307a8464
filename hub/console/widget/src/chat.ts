// The conversation: the line to the hub, what waits to be sent, and what is shown, tied together.

import { Composer } from "./composer.js";
import { askForm } from "./form.js";
import { Line } from "./line.js";
import { Log } from "./log.js";
import { Panel } from "./panel.js";
import { newId, Store } from "./store.js";
import {
  PLAIN,
  type Attachment,
  type Frame,
  type LineState,
  type Message,
  type Outgoing,
  type Settings,
} from "./types.js";
import type { Words } from "./words.js";

const MOST_UNSENT = 50;
const PAGE = 50;
const READ_SECONDS = 0.4;
const SLOW_SECONDS = 2.5; // a line that is away for less is not worth a word
const BOUNDARY_RETRIES = new Set(["rate_limited", "unavailable", "busy"]);
const UNCHANGEABLE = new Set(["not_editable", "not_found"]); // the next try says it as a message of its own
const IDENTITY_ERRORS = new Set(["bad_identity", "identity_expired", "identity_off"]);

export interface Around {
  base: string;
  publicId: string;
  words: Words;
  // What the page itself has set, which goes before what the tenant has, whenever that is told.
  given(): Partial<Settings>;
  page: boolean;
  // Whose visitor this is, where another site has opened the page: its conversation is kept apart from the page's own.
  opener: string;
  // Whether the visitor can see the conversation now.
  visible(): boolean;
  close(): void;
  popOut(): void;
  painted(settings: Settings): void;
  tell(event: string, detail?: unknown): void;
}

export class Chat {
  readonly panel: Panel;
  readonly store: Store;
  readonly line: Line;
  #log: Log;
  #composer: Composer;
  #tabs: BroadcastChannel | null = null;
  #settings: Settings = PLAIN;
  #identified = false;
  #read = 0;
  #since = "";
  #told = -1;
  #slow = 0;
  #reading = 0;
  #asking = false;
  #token = ""; // the one of this page's line

  constructor(private around: Around) {
    const { words, base, publicId } = around;
    const kept = publicId + (around.opener && `@${around.opener}`);
    this.store = new Store(`hub-chat:${kept}`);
    this.line = new Line(base, publicId, this.store);
    this.panel = new Panel(
      words,
      {
        close: around.close,
        popOut: around.popOut,
        anew: () => this.anew(),
        say: (text) => this.say(text),
        drop: (files) => this.#composer.add(files),
        address: (path) => this.#address(path),
      },
      around.page,
    );
    this.#log = new Log(
      words,
      {
        say: (text) => this.say(text),
        resend: (message) => this.#post({ ...message, id: newId(), at: Date.now() }),
        edit: (message) => this.#composer.edit(message),
        again: (message) => this.#again(message),
        older: (before) => void this.line.history(before, PAGE).catch(() => {}),
        seen: () => this.seen(),
        address: (path) => this.#address(path),
        mayShow: (url) => this.#settings.remote_images || url.startsWith(`${base}/`),
        face: () => this.panel.face(),
        agent: () => this.panel.agent,
      },
      this.panel.empty,
    );
    this.#composer = new Composer(
      words,
      {
        send: (text, attachments, edits) => this.#write(text, attachments, edits),
        stop: () => this.stop(),
        uploadsTo: () => `${base}/sse/chat/${encodeURIComponent(publicId)}/uploads`,
        tell: (text) => this.panel.notice(text, { seconds: 8, tone: "bad" }),
      },
      this.store,
    );
    this.panel.fill(this.#log.node, this.#log.down, this.#composer.node);
    this.line.onframe = (frame) => this.#heard(frame);
    this.line.onstate = (state) => this.#entered(state);
    this.#joinTabs(kept);
    this.apply(this.store.kept.settings ?? {});
  }

  get answering(): boolean {
    return this.#log.answering;
  }

  cancelEdit(): boolean {
    return this.#composer.cancelEdit();
  }

  get unread(): number {
    return this.#log.unread(this.#read);
  }

  // Where one writes; with a keyboard on the screen, that waits until the visitor touches the box.
  focus(): void {
    if (!matchMedia("(hover: hover)").matches) return this.panel.node.focus({ preventScroll: true });
    const box = this.panel.node.querySelector<HTMLElement>("#ask :is(input, textarea, select)");
    (box ?? this.#composer.text).focus({ preventScroll: true });
  }

  toEnd(): void {
    this.#log.toEnd();
  }

  // How the tenant wants it to look.
  apply(settings: Partial<Settings>): void {
    this.#settings = { ...this.#settings, ...settings, ...this.around.given() };
    this.panel.paint(this.#settings);
    this.#composer.uploads = this.#settings.uploads;
    this.around.painted(this.#settings);
    this.#show();
  }

  unavailable(text: string): void {
    this.panel.notice(this.#log.isEmpty ? "" : text, { tone: "bad" });
    this.panel.state("closed");
    this.panel.close(text);
    this.#composer.enable(false);
    this.#composer.node.hidden = this.#log.isEmpty;
    this.panel.empty.hidden = !this.#log.isEmpty;
  }

  destroy(): void {
    clearTimeout(this.#slow);
    clearTimeout(this.#reading);
    this.line.destroy();
    this.#tabs?.close();
  }

  // ---- what the visitor does ----

  say(text: string): boolean {
    const words = text.trim();
    return Boolean(words) && this.#write(words, [], "");
  }

  stop(): void {
    this.line.stop().catch(() => {});
  }

  anew(): void {
    const visitor = this.#token;
    this.#startOver();
    this.#tabs?.postMessage({ over: visitor } satisfies Told);
    if (this.around.visible()) this.focus();
  }

  #startOver(): void {
    this.line.close();
    this.line.identity = "";
    this.store.forget();
    this.#token = "";
    this.#log.clear();
    this.#read = 0;
    this.line.open();
    this.#show();
    this.around.tell("anew");
  }

  // Everything up to the last message has been in front of the visitor's eyes; told in one word, not for each.
  seen(): void {
    const last = this.#log.last;
    if (last > this.#read && this.around.visible() && this.#log.atEnd && this.line.ready) {
      this.#read = last;
      clearTimeout(this.#reading);
      this.#reading = setTimeout(() => {
        this.line.read(this.#read).catch(() => {}); // it is said again with the next message
      }, READ_SECONDS * 1000);
    }
    this.#count();
  }

  #write(text: string, attachments: Attachment[], edits: string): boolean {
    const form = this.store.kept.session ? undefined : (this.store.kept.form ?? undefined);
    return this.#post({
      id: newId(),
      text,
      at: Date.now(),
      ...(attachments.length && { attachments }),
      ...(edits && { edits }),
      ...(form && { form }),
    });
  }

  #again(message: Message): void {
    this.#post({
      id: newId(),
      text: message.text,
      at: Date.now(),
      edits: message.id,
      again: true,
      attachments: message.attachments,
    });
  }

  #post(message: Outgoing): boolean {
    if (this.store.unsent().length >= MOST_UNSENT) {
      this.panel.notice(this.around.words.say("full"), { seconds: 8, tone: "bad" });
      return false;
    }
    this.store.put(message);
    this.#log.pend(message);
    this.#show();
    if (this.line.state === "resting") this.line.open();
    void this.#send(message);
    this.around.tell("sent", { id: message.id, text: message.text });
    return true;
  }

  async #send(message: Outgoing): Promise<void> {
    if (!this.line.ready) return;
    try {
      await this.line.say(message);
    } catch {
      // The line is gone; the next welcome sends it again under the same id.
    }
  }

  // Everything that was never acknowledged, in order, under the same ids.
  async #flush(): Promise<void> {
    for (const message of this.store.unsent()) await this.#send(message);
  }

  // ---- what the hub says ----

  #heard(frame: Frame): void {
    const act = this.#frames[frame.type];
    if (!act) return; // types to come
    act(frame);
    this.#show();
  }

  #frames: Record<string, (frame: Frame) => void> = {
    welcome: (frame) => {
      if (frame.changed) this.#log.clear();
      if (frame.settings) this.#keepSettings(frame.settings);
      this.#identified = frame.identified ?? false;
      this.#read = frame.read ?? 0;
      this.#since = frame.now ?? "";
      this.#log.giveUp(); // an answer that runs tells of itself
      this.#token = frame.token ?? "";
      this.#present();
      for (const message of this.store.unsent()) this.#log.pend(message);
      void this.#flush();
    },
    session: (frame) => {
      if (frame.changed) this.#log.clear();
      if (frame.changed) this.#read = 0;
      for (const message of this.store.unsent()) this.#log.pend(message);
    },
    identified: (frame) => {
      this.#identified = true;
      this.#token = frame.token ?? this.#token;
      this.line.identity = ""; // the visitor's token says it from now on
      this.around.tell("identified");
    },
    ack: (frame) => this.#acknowledged(frame),
    message: (frame) => this.#stored(frame.message as Message),
    begin: (frame) => {
      this.#log.begin(frame.turn_id ?? "");
      this.#log.text("", true);
    },
    reset: (frame) => {
      this.#log.begin(frame.turn_id ?? "");
      this.#log.text("", true);
    },
    stopped: (frame) => {
      if (!frame.running) this.#log.giveUp();
    },
    restart: () => this.#log.gap("", true),
    delta: (frame) => this.#log.text(frame.text ?? ""),
    status: (frame) => this.#log.doing(frame),
    gap: (frame) => this.#log.gap(frame.text ?? "", frame.whole === true),
    missed: (frame) => this.#log.dropTo(frame.after ?? 0),
    history: (frame) => this.#log.page(frame.messages ?? [], frame.more ?? false),
    read: (frame) => {
      this.#read = Math.max(this.#read, frame.seq ?? 0);
    },
    error: (frame) => this.#refused(frame),
  };

  #acknowledged(frame: Frame): void {
    const { client_id: id = "", seq = 0, status } = frame;
    this.store.sent(id);
    if (this.#log.has(seq)) this.#log.forget(id);
    if (status === "accepted" && !frame.duplicate) this.#log.expect(seq);
    const { say } = this.around.words;
    if (status === "noted") this.panel.notice(say("noted"), { seconds: 8 });
  }

  #stored(message: Message): void {
    if (message.client_id) this.store.sent(message.client_id);
    if (!this.#log.store(message)) return;
    if (this.#since && message.created >= this.#since) {
      this.around.tell("message", {
        role: message.role,
        text: message.text,
        seq: message.seq,
        created: message.created,
      });
      if (message.role === "assistant") {
        const plain = message.text.replace(/[*_`#>|]+/g, " ").slice(0, 1500);
        this.panel.announce(this.around.words.say("answered", this.panel.agent, plain));
      }
    }
    this.seen();
  }

  #refused(frame: Frame): void {
    const { say } = this.around.words;
    const code = frame.code ?? "";
    const text = this.around.words.refusal(code, String(frame.message ?? ""));
    if (IDENTITY_ERRORS.has(code)) {
      this.line.identity = "";
      if (!this.#identified) this.panel.notice(say("unverified"), { seconds: 8, tone: "bad" });
    } else if (frame.retry_after && BOUNDARY_RETRIES.has(code)) {
      const { identity } = this.line;
      const again = (): void => void (code === "busy" && identity ? this.line.identify(identity) : this.#flush());
      setTimeout(again, frame.retry_after * 1000);
      return;
    } else if (frame.client_id) {
      const message = this.store.unsent().find((waiting) => waiting.id === frame.client_id);
      this.store.sent(frame.client_id);
      if (message && code.startsWith("form_")) this.#askAgain(message, text);
      else if (message)
        this.#log.fail(UNCHANGEABLE.has(code) ? { ...message, edits: "", again: false } : message, text);
    }
    this.around.tell("error", { code, message: text });
  }

  // The hub does not take an answer of the form: it is shown again, and the message stands where it was written.
  #askAgain(message: Outgoing, text: string): void {
    this.#log.forget(message.id);
    this.store.keep({ form: null });
    this.#composer.text.value ||= message.text;
    this.#composer.show();
    this.panel.notice(text, { seconds: 12, tone: "bad" });
  }

  #entered(state: LineState): void {
    const { say } = this.around.words;
    this.panel.state(state);
    clearTimeout(this.#slow);
    if (state === "online") {
      this.panel.notice("");
      this.seen();
    }
    if (state === "offline") this.panel.notice(say("offlineNote"));
    else if (state === "closed") this.unavailable(say("closedNote"));
    else if (state === "connecting") {
      this.#slow = setTimeout(() => this.panel.notice(say("connectingNote")), SLOW_SECONDS * 1000);
    }
    this.#show();
    this.around.tell("state", { state });
  }

  // ---- what is shown ----

  #show(): void {
    const begun = Boolean(this.store.kept.session);
    const { form } = this.#settings;
    const asks = form.length > 0 && !begun && !this.#identified && !this.store.kept.form && this.#log.isEmpty;
    this.panel.empty.hidden = !this.#log.isEmpty || (begun && this.line.state !== "closed");
    this.panel.session(begun && !this.#identified); // a signed-in visitor has one conversation
    this.#composer.answering(this.#log.answering);
    if (asks !== this.#asking) this.#ask(asks);
    this.#count();
  }

  #ask(asks: boolean): void {
    this.#asking = asks;
    this.#composer.node.hidden = asks;
    this.panel.ask(
      asks
        ? askForm(this.#settings.form, this.around.words, (answers) => {
            this.store.keep({ form: answers });
            this.#show();
            this.focus();
          })
        : null,
    );
  }

  #count(): void {
    const { unread } = this;
    if (unread === this.#told) return;
    this.#told = unread;
    this.around.tell("unread", { count: unread });
  }

  #keepSettings(settings: Partial<Settings>): void {
    this.store.keep({ settings });
    this.apply(settings);
  }

  #address(path: string): string {
    return path.startsWith("/") ? this.around.base + path : path;
  }

  // ---- the visitor's other pages ----

  // Messages and reading come back through the hub; what it cannot tell are a first token and a forgotten conversation.
  #joinTabs(name: string): void {
    if (!("BroadcastChannel" in globalThis)) return;
    this.#tabs = new BroadcastChannel(`hub-chat:${name}`);
    this.#tabs.onmessage = ({ data }: MessageEvent<Told>) => {
      if (data.over) {
        if (data.over === this.#token) this.#startOver();
      } else if (data.token && data.token !== this.#token && this.line.state === "online")
        this.#meet(data.token, data.begun);
    };
  }

  // Two pages that came at once got a visitor each: the one that has said something stays, else the smaller token.
  #meet(token: string, begun = false): void {
    const mine = Boolean(this.store.kept.session) || !this.#log.isEmpty;
    if (!mine && (begun || token < this.#token)) {
      this.line.close();
      this.store.keep({ token, session: "" });
      this.line.open();
    } else if (!begun) this.#present();
  }

  #present(): void {
    this.#tabs?.postMessage({ token: this.#token, begun: Boolean(this.store.kept.session) } satisfies Told);
  }
}

interface Told {
  token?: string;
  begun?: boolean;
  over?: string; // the visitor whose conversation was forgotten
}
