// Messages that the hub has not acknowledged: kept on the device, sent again under the same id until it has.

const MOST = 50;

export function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// What a tab may remember; without storage (private windows) it remembers until it closes.
export class Store {
  #key;

  constructor(key) {
    this.#key = key;
    Object.assign(this, { token: "", session: "", cursor: "", unsent: [] });
    try {
      Object.assign(this, JSON.parse(localStorage.getItem(key) ?? "{}"));
    } catch {
      // A damaged or forbidden store is an empty one.
    }
    this.cursor = ""; // a fresh page shows the whole conversation again
  }

  save() {
    const { token, session, unsent } = this;
    try {
      localStorage.setItem(this.#key, JSON.stringify({ token, session, unsent }));
    } catch {
      // Then it lasts as long as the page.
    }
  }

  clear() {
    Object.assign(this, { token: "", session: "", cursor: "", unsent: [] });
    this.save();
  }
}

export class Outbox {
  #store;
  #line;

  constructor(store, line) {
    this.#store = store;
    this.#line = line;
  }

  get waiting() {
    return this.#store.unsent;
  }

  get full() {
    return this.#store.unsent.length >= MOST;
  }

  add(text) {
    const message = { id: newId(), text, at: Date.now() };
    this.#store.unsent.push(message);
    this.#store.save();
    this.#send(message);
    return message;
  }

  // After each welcome: everything that was never acknowledged, in order.
  async flush() {
    for (const message of [...this.#store.unsent]) await this.#send(message);
  }

  done(id) {
    this.#store.unsent = this.#store.unsent.filter((message) => message.id !== id);
    this.#store.save();
  }

  async #send(message) {
    if (!this.#line.ready) return;
    try {
      await this.#line.say(message.id, message.text);
    } catch {
      // The line is gone; the next welcome sends it again under the same id.
    }
  }
}
