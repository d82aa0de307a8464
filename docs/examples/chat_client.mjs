// A small chat client over server-sent events, for browsers and Node 20, without any package (docs/chat-protocol.md).
//
//   node chat_client.mjs https://hub.example.org <public id> "Hello!" [file]
//
// It keeps what a page keeps (token, session, cursor), comes back after a drop without losing or doubling a word, sends a
// file where one is named, and prints each answer.

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

export class ChatClient {
  /** `state` is what to keep between visits, for instance in localStorage. */
  constructor(base, publicId, state = {}) {
    this.url = `${base.replace(/\/$/, "")}/sse/chat/${publicId}`;
    this.state = { token: "", session: "", cursor: "", ...state };
    this.running = "";
  }

  get headers() {
    return this.state.token ? { authorization: `Bearer ${this.state.token}` } : {};
  }

  async settings() {
    return this.#answer(await fetch(`${this.url}/settings`));
  }

  /** Say something; the same `client_id` again is the same message, so a failure is simply tried again. */
  async say(text, fields = {}) {
    const body = JSON.stringify({ client_id: crypto.randomUUID(), text, ...fields });
    for (let tries = 0; ; tries += 1) {
      try {
        const headers = { ...this.headers, "content-type": "application/json" };
        const ack = await this.#answer(await fetch(`${this.url}/messages`, { method: "POST", headers, body }));
        this.state.token = ack.token;
        return ack;
      } catch (error) {
        if (tries >= 5 || (error.status && ![408, 429, 503].includes(error.status))) throw error;
        await pause((error.retryAfter ?? 2 ** tries) * 1000 * (0.5 + Math.random() / 2));
      }
    }
  }

  async stop() {
    return this.#answer(await fetch(`${this.url}/stop`, { method: "POST", headers: this.headers, body: "{}" }));
  }

  /** Upload a file (a Blob, or bytes); say it with `attachments: [{ upload }]`. */
  async upload(name, data, type = data.type ?? "") {
    const headers = { ...this.headers, "content-type": type || "application/octet-stream" };
    const address = `${this.url}/uploads?name=${encodeURIComponent(name)}`;
    return this.#answer(await fetch(address, { method: "POST", headers, body: data }));
  }

  async history(before, limit = 50) {
    return this.#answer(await fetch(`${this.url}/history?before=${before}&limit=${limit}`, { headers: this.headers }));
  }

  /** Every frame, over as many streams as it takes. `running` is the answer as far as it is written. */
  async *events(signal) {
    for (let failures = 0; !signal?.aborted; failures += 1) {
      try {
        const query = new URLSearchParams({ cursor: this.state.cursor, session: this.state.session ?? "" });
        const response = await fetch(`${this.url}?${query}`, { headers: this.headers, signal });
        if (!response.ok) await this.#answer(response);
        for await (const frame of this.#frames(response.body)) {
          failures = 0;
          yield frame;
        }
      } catch (error) {
        if (signal?.aborted) return;
        if (error.status === 401) this.state = { token: "", session: "", cursor: "" };
        else if (error.status && ![408, 429, 503].includes(error.status)) throw error;
      }
      await pause(Math.min(30, 0.5 * 2 ** failures) * 1000 * Math.random());
    }
  }

  async *#frames(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        text += value;
        const blocks = text.split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const data = block.split("\n").find((line) => line.startsWith("data: "));
          if (data) yield this.#note(JSON.parse(data.slice(6)));
        }
      }
    } finally {
      await reader.cancel().catch(() => {});
    }
  }

  #note(frame) {
    if (frame.cursor) this.state.cursor = frame.cursor;
    if (frame.type === "welcome") this.state.token = frame.token;
    if (frame.type === "welcome" || frame.type === "session") this.state.session = frame.session;
    if (["begin", "restart", "reset"].includes(frame.type)) this.running = "";
    if (frame.type === "delta") this.running += frame.text;
    if (frame.type === "gap") this.running = frame.text;
    return frame;
  }

  async #answer(response) {
    const found = await response.json();
    if (response.ok) return found;
    const retryAfter = Number(response.headers.get("retry-after")) || undefined;
    throw Object.assign(new Error(found.message), { status: response.status, code: found.code, retryAfter });
  }
}

async function main(base, publicId, text, path) {
  const client = new ChatClient(base, publicId);
  const leaving = new AbortController();
  for await (const frame of client.events(leaving.signal)) {
    if (frame.type === "welcome" && !frame.session) {
      const attachments = [];
      if (path) {
        const { readFile } = await import("node:fs/promises");
        const { basename } = await import("node:path");
        attachments.push({ upload: (await client.upload(basename(path), await readFile(path))).upload });
      }
      await client.say(text, { attachments });
    }
    if (frame.type === "message" && frame.message.role === "assistant") {
      console.log(frame.message.text);
      leaving.abort();
    }
  }
}

if (globalThis.process?.argv[1]?.endsWith("chat_client.mjs")) await main(...process.argv.slice(2));
