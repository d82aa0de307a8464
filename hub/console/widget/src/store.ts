// What the device remembers of a chat: the visitor's token, the session, and what was not sent yet. Without storage
// (private windows, forbidden by the page) it remembers as long as the page lives.

import type { Outgoing, Settings } from "./types.js";

interface Kept {
  token: string;
  session: string;
  opened: boolean;
  form: Record<string, string> | null;
  settings: Partial<Settings> | null;
}

const NOTHING: Kept = { token: "", session: "", opened: false, form: null, settings: null };

export class Store {
  // Of this page alone: how far it came, and in which session. Others of the visitor are elsewhere.
  cursor = "";
  session = "";
  kept: Kept = { ...NOTHING };
  #key: string;
  #own = new Map<string, Outgoing>();

  constructor(key: string) {
    this.#key = key;
    this.reload();
  }

  // What another page of this visitor may have written meanwhile.
  reload(): void {
    this.kept = { ...NOTHING, ...read<Partial<Kept>>(this.#key) };
  }

  keep(values: Partial<Kept>): void {
    Object.assign(this.kept, values);
    write(this.#key, this.kept);
  }

  forget(): void {
    this.cursor = this.session = "";
    for (const { id } of this.unsent()) this.sent(id);
    this.keep({ token: "", session: "", form: null });
  }

  // Each message has an entry of its own, so that two pages never overwrite each other's; oldest first.
  unsent(): Outgoing[] {
    const found = new Map(this.#own);
    for (const key of keys(this.#slot(""))) {
      const message = read<Outgoing>(key);
      if (message?.id) found.set(message.id, message);
    }
    return [...found.values()].sort((one, other) => one.at - other.at);
  }

  put(message: Outgoing): void {
    this.#own.set(message.id, message);
    write(this.#slot(message.id), message);
  }

  sent(id: string): void {
    this.#own.delete(id);
    try {
      localStorage.removeItem(this.#slot(id));
    } catch {
      // Then it was never written.
    }
  }

  #slot = (id: string): string => `${this.#key}:unsent:${id}`;
}

function read<T>(key: string): T | null {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "null") as T | null;
  } catch {
    return null; // a damaged or forbidden store is an empty one
  }
}

function write(key: string, value: unknown): void {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Then it lasts as long as the page.
  }
}

function keys(prefix: string): string[] {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  } catch {
    return [];
  }
}

export function newId(): string {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
