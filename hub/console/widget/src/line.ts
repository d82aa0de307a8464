// One line to the hub: a WebSocket, or server-sent events where sockets do not get through. Both carry the same words.
// It reconnects by itself with growing pauses, and goes on at the cursor it reached.

import type { Store } from "./store.js";
import type { Frame, LineState, Outgoing } from "./types.js";

const FIRST_PAUSE = 400;
const LONGEST_PAUSE = 20_000;
const QUIET = 60_000; // the hub pings every 25 s; after this silence the line counts as dead
const OPEN_LIMIT = 8_000;
const REQUEST_LIMIT = 15_000;
const SOCKET_TRIES = 2; // sockets that never opened, after which events are tried
const FINAL = new Set([1008, 4008, 4403, 4404]);
const TOO_MANY_PAGES = 4429;

export class Line {
  ready = false;
  state: LineState = "resting";
  identity = "";
  onframe: (frame: Frame) => void = () => {};
  onstate: (state: LineState) => void = () => {};
  #path: string;
  #store: Store;
  #socket: WebSocket | null = null;
  #stream: AbortController | null = null;
  #pause = FIRST_PAUSE;
  #timer = 0;
  #watchdog = 0;
  #misses = 0;
  #events = false;
  #ended = true;
  #asked = "";
  #life = new AbortController();

  // `base` is the hub's address without a slash at its end.
  constructor(
    private base: string,
    publicId: string,
    store: Store,
  ) {
    this.#path = `/chat/${encodeURIComponent(publicId)}`;
    this.#store = store;
    const { signal } = this.#life;
    addEventListener("online", () => this.#soon(0), { signal });
    addEventListener("offline", () => this.#lost("offline"), { signal });
    document.addEventListener(
      "visibilitychange",
      () => {
        if (!document.hidden && !this.ready) this.#soon(0);
      },
      { signal },
    );
  }

  open(): void {
    if (!this.#ended) return;
    this.#ended = false;
    this.#pause = FIRST_PAUSE;
    this.#connect();
  }

  close(): void {
    this.#ended = true;
    this.#drop();
    this.#enter("resting");
  }

  destroy(): void {
    this.close();
    this.#life.abort();
  }

  // Whether it was handed over; the acknowledgement says that it is stored.
  async say(message: Outgoing): Promise<void> {
    const { id, text, attachments, edits, form } = message;
    const words = message.again ? {} : { text, attachments: attachments?.map(({ upload }) => ({ upload })) };
    const frame = { type: "say", client_id: id, edits: edits || undefined, form, ...words };
    if (!this.#events) return void this.#send(frame);
    const answer = await this.#ask("messages", frame);
    if (answer.token) this.#store.keep({ token: answer.token, session: answer.session ?? "" });
    this.onframe(answer.type === "error" ? { ...answer, client_id: id } : { ...answer, type: "ack" });
  }

  async stop(): Promise<void> {
    if (!this.#events) this.#send({ type: "stop" });
    else this.onframe(await this.#ask("stop", {}));
  }

  async read(seq: number): Promise<void> {
    if (!this.#events) this.#send({ type: "read", seq });
    else if (this.ready) await this.#ask("read", { seq });
  }

  async history(before: number, limit: number): Promise<void> {
    if (!this.#events) this.#send({ type: "history", before, limit });
    else this.onframe(await this.#ask(`history?before=${before}&limit=${limit}`));
  }

  // Who the visitor is, as the site's server has signed it; said again whenever the line opens.
  async identify(token: string): Promise<void> {
    this.identity = token;
    if (!this.ready || !token) return;
    if (!this.#events) return void this.#send({ type: "identify", token });
    const answer = await this.#ask("identify", { token });
    this.#heard(answer);
    if (answer.type === "identified") this.#lost();
  }

  // ---- coming and going ----

  #connect(): void {
    this.#drop();
    if (this.#ended) return;
    this.#store.reload();
    if (!navigator.onLine) return this.#enter("offline");
    this.#enter("connecting");
    if (this.#events) void this.#openStream();
    else this.#openSocket();
  }

  #soon(pause: number): void {
    if (this.#ended || (this.ready && pause === 0)) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  #lost(state: LineState = "connecting"): void {
    this.#drop();
    if (this.#ended) return;
    this.#enter(navigator.onLine ? state : "offline");
    this.#soon(this.#pause * (0.5 + Math.random()));
    this.#pause = Math.min(LONGEST_PAUSE, this.#pause * 2);
  }

  #drop(): void {
    this.ready = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#watchdog);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#stream?.abort();
    this.#stream = null;
  }

  #listen(limit = QUIET): void {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#lost(), limit);
  }

  #enter(state: LineState): void {
    if (state === this.state) return;
    this.state = state;
    this.onstate(state);
  }

  // It will not come back by itself.
  #end(): void {
    this.close();
    this.#enter("closed");
  }

  #forget(): void {
    this.#store.cursor = "";
    this.#store.keep({ token: "", session: "" });
  }

  // ---- what the hub says ----

  #heard(frame: Frame): void {
    this.#listen();
    if (frame.cursor && frame.type !== "moving") this.#store.cursor = frame.cursor;
    if (frame.type === "ping") return void this.#send({ type: "pong" });
    if (frame.type === "pong") return;
    if (frame.type === "moving") {
      this.#pause = FIRST_PAUSE;
      return this.#lost();
    }
    if (frame.type === "welcome" || frame.type === "session" || frame.type === "identified") this.#turned(frame);
    else if (frame.type === "error" && frame.code === "bad_token") this.#forget();
    this.onframe(frame);
    if (frame.type === "welcome") this.#enter("online");
  }

  // Which visitor and session this is now; `changed`: not the one whose messages are shown.
  #turned(frame: Frame): void {
    const session = frame.session ?? "";
    const before = this.#store.session;
    frame.changed = frame.type !== "identified" && Boolean(before) && before !== session;
    if (frame.token) this.#store.keep({ token: frame.token });
    if (frame.type === "identified") return; // a session frame follows where it is another one
    this.#store.session = session;
    this.#store.keep({ session });
    if (frame.type !== "welcome") return;
    this.#pause = FIRST_PAUSE;
    this.#misses = 0;
    this.ready = true;
  }

  // ---- by socket ----

  #openSocket(): void {
    const socket = new WebSocket(`${this.base.replace(/^http/, "ws")}/ws${this.#path}`);
    let opened = false;
    this.#socket = socket;
    this.#listen(OPEN_LIMIT);
    socket.onopen = () => {
      opened = true;
      this.#listen(OPEN_LIMIT);
      const { cursor, session, kept } = this.#store;
      const identity = this.identity || undefined;
      this.#send({ type: "hello", token: kept.token, cursor, session, identity });
    };
    socket.onmessage = (event) => this.#heard(JSON.parse(event.data as string) as Frame);
    socket.onclose = (event) => {
      if (event.code === 4401) this.#forget();
      if (FINAL.has(event.code)) return this.#end();
      if (!opened && navigator.onLine) this.#misses += 1;
      if (this.#misses >= SOCKET_TRIES) this.#events = true;
      if (event.code === TOO_MANY_PAGES) this.#pause = LONGEST_PAUSE;
      this.#lost();
    };
  }

  #send(frame: object): boolean {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  // ---- by events ----

  #headers(more: Record<string, string> = {}): Record<string, string> {
    const { token } = this.#store.kept;
    return token ? { ...more, Authorization: `Bearer ${token}` } : more;
  }

  async #openStream(): Promise<void> {
    const stream = new AbortController();
    this.#stream = stream;
    this.#listen(OPEN_LIMIT);
    const query = new URLSearchParams({ cursor: this.#store.cursor, session: this.#store.session });
    this.#events = false; // until this stream has opened: else sockets have their turn again
    this.#misses = 0;
    try {
      const response = await fetch(`${this.base}/sse${this.#path}?${query}`, {
        headers: this.#headers({ Accept: "text/event-stream" }),
        signal: stream.signal,
        cache: "no-store",
      });
      if (response.status === 401) this.#forget();
      if (response.status === 403 || response.status === 404) return this.#end();
      if (response.ok && response.body) {
        this.#events = true;
        await this.#follow(response.body);
      }
    } catch {
      if (stream.signal.aborted) return; // dropped by us; anything else is a lost line
    }
    if (this.#stream === stream) this.#lost();
  }

  async #follow(body: ReadableStream<Uint8Array>): Promise<void> {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let waiting = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      this.#listen();
      const events = (waiting + decoder.decode(value, { stream: true })).split("\n\n");
      waiting = events.pop()!;
      for (const event of events) {
        const data = event
          .split("\n")
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(5).trim());
        if (data.length) this.#heard(JSON.parse(data.join("\n")) as Frame);
        if (this.ready && this.identity && !this.#asked) void this.#identifyOnce();
      }
    }
  }

  async #identifyOnce(): Promise<void> {
    this.#asked = this.identity;
    await this.identify(this.identity);
  }

  async #ask(what: string, body?: object): Promise<Frame> {
    const response = await fetch(`${this.base}/sse${this.#path}/${what}`, {
      method: body ? "POST" : "GET",
      headers: this.#headers(body ? { "Content-Type": "application/json" } : {}),
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(REQUEST_LIMIT),
    });
    const answer = (await response.json()) as Frame;
    return response.ok ? answer : { ...answer, type: "error" };
  }
}
