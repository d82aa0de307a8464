// One line to the hub: a WebSocket, or server-sent events where sockets do not get through. Both carry the same words.
// It reconnects by itself with growing pauses, and goes on at the cursor it reached.

const FIRST_PAUSE = 400;
const LONGEST_PAUSE = 20_000;
const QUIET = 60_000; // the hub pings every 25 s; after this silence the line counts as dead
const OPEN_LIMIT = 8_000;
const SOCKET_TRIES = 2; // sockets that never opened, after which events are tried
const FINAL = new Set([1008, 4008, 4403, 4404]);

export class Line extends EventTarget {
  #id;
  #store;
  #socket = null;
  #stream = null;
  #pause = FIRST_PAUSE;
  #timer = 0;
  #watchdog = 0;
  #misses = 0;
  #events = false;
  #ended = false;
  ready = false;

  // `store` keeps token, session and cursor: { token, session, cursor, save() }.
  constructor(publicId, store) {
    super();
    this.#id = encodeURIComponent(publicId);
    this.#store = store;
    addEventListener("online", () => this.#soon(0));
    addEventListener("offline", () => this.#lost("offline"));
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !this.ready) this.#soon(0);
    });
  }

  open() {
    this.#ended = false;
    this.#connect();
  }

  close() {
    this.#ended = true;
    this.#drop();
  }

  async say(clientId, text) {
    const message = { type: "say", client_id: clientId, text };
    if (!this.#events) return this.#send(message);
    const answer = await this.#post("messages", message);
    if (answer.token) this.#keep({ token: answer.token, session: answer.session });
    this.#tell(answer);
    return true;
  }

  async stop() {
    if (!this.#events) return this.#send({ type: "stop" });
    this.#tell(await this.#post("stop", {}));
    return true;
  }

  // ---- coming and going ----

  #connect() {
    this.#drop();
    if (this.#ended) return;
    if (!navigator.onLine) return this.#state("offline");
    this.#state("connecting");
    if (this.#events) this.#openStream();
    else this.#openSocket();
  }

  #soon(pause) {
    if (this.#ended || (this.ready && pause === 0)) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connect(), pause);
  }

  #lost(state = "connecting") {
    this.#drop();
    if (this.#ended) return;
    this.#state(navigator.onLine ? state : "offline");
    this.#soon(this.#pause * (0.5 + Math.random()));
    this.#pause = Math.min(LONGEST_PAUSE, this.#pause * 2);
  }

  #drop() {
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

  #listen(limit = QUIET) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#lost(), limit);
  }

  #state(state) {
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  #tell(frame) {
    this.dispatchEvent(new CustomEvent("frame", { detail: frame }));
  }

  #keep(values) {
    Object.assign(this.#store, values);
    this.#store.save();
  }

  #forget() {
    this.#keep({ token: "", session: "", cursor: "" });
  }

  // ---- what the hub says ----

  #heard(frame) {
    this.#listen();
    if (frame.cursor && frame.type !== "moving") this.#keep({ cursor: frame.cursor });
    if (frame.type === "ping") return this.#send({ type: "pong" });
    if (frame.type === "pong") return undefined;
    if (frame.type === "moving") {
      this.#pause = FIRST_PAUSE;
      return this.#lost();
    }
    if (frame.type === "welcome") return this.#welcomed(frame);
    if (frame.type === "session") {
      const changed = Boolean(this.#store.session) && this.#store.session !== frame.session;
      this.#keep({ session: frame.session });
      return this.#tell({ ...frame, changed });
    }
    if (frame.type === "error" && frame.code === "bad_token") this.#forget();
    return this.#tell(frame);
  }

  #welcomed(frame) {
    const changed = Boolean(this.#store.session) && this.#store.session !== (frame.session ?? "");
    this.#keep({ token: frame.token, session: frame.session ?? "" });
    this.#pause = FIRST_PAUSE;
    this.#misses = 0;
    this.ready = true;
    this.#tell({ ...frame, changed });
    this.#state("online");
  }

  // ---- by socket ----

  #openSocket() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/ws/chat/${this.#id}`);
    let opened = false;
    this.#socket = socket;
    this.#listen(OPEN_LIMIT);
    socket.onopen = () => {
      opened = true;
      this.#listen(OPEN_LIMIT);
      const { token, cursor, session } = this.#store;
      this.#send({ type: "hello", token, cursor, session });
    };
    socket.onmessage = (event) => this.#heard(JSON.parse(event.data));
    socket.onclose = (event) => {
      if (event.code === 4401) this.#forget();
      if (FINAL.has(event.code)) {
        this.close();
        return this.#state("closed");
      }
      if (!opened && navigator.onLine) this.#misses += 1;
      if (this.#misses >= SOCKET_TRIES) this.#events = true;
      return this.#lost();
    };
  }

  #send(frame) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  // ---- by events ----

  #headers(more = {}) {
    return this.#store.token ? { ...more, Authorization: `Bearer ${this.#store.token}` } : more;
  }

  async #openStream() {
    const stream = new AbortController();
    this.#stream = stream;
    this.#listen(OPEN_LIMIT);
    const query = new URLSearchParams({ cursor: this.#store.cursor, session: this.#store.session });
    this.#events = false; // until this stream has opened: else sockets have their turn again
    this.#misses = 0;
    try {
      const response = await fetch(`/sse/chat/${this.#id}?${query}`, {
        headers: this.#headers({ Accept: "text/event-stream" }),
        signal: stream.signal,
        cache: "no-store",
      });
      if (response.status === 401) this.#forget();
      if (response.status === 403 || response.status === 404) {
        this.close();
        return this.#state("closed");
      }
      if (response.ok) {
        this.#events = true;
        await this.#read(response.body);
      }
    } catch (error) {
      if (stream.signal.aborted) return undefined;
    }
    if (this.#stream === stream) this.#lost();
    return undefined;
  }

  async #read(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let waiting = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      this.#listen();
      const events = (waiting + value).split("\n\n");
      waiting = events.pop();
      for (const event of events) {
        const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim());
        if (data.length) this.#heard(JSON.parse(data.join("\n")));
      }
    }
  }

  async #post(what, body) {
    const response = await fetch(`/sse/chat/${this.#id}/${what}`, {
      method: "POST",
      headers: this.#headers({ "Content-Type": "application/json" }),
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(15_000),
    });
    const answer = await response.json();
    return response.ok ? answer : { ...answer, type: "error", client_id: body.client_id };
  }
}
