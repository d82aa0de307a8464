// Where the visitor writes: text, files, and the button that sends or stops.

import { h, icon, iconButton } from "./dom.js";
import type { Store } from "./store.js";
import type { Attachment, Message, Uploading } from "./types.js";
import { accepts, upload, UploadError, type Upload } from "./uploads.js";
import type { Words } from "./words.js";

/** Of one message, as the protocol has it; what is pasted beyond it stays in the box, for its writer to cut. */
const MOST_CHARS = 32_000;
const MOST_BYTES = 60_000; // a frame holds 64 KiB
const MOST_HEIGHT = 200;

export interface ComposerActs {
  send(text: string, attachments: Attachment[], edits: string): boolean;
  stop(): void;
  uploadsTo(): string;
  tell(text: string): void;
}

interface Chip {
  node: HTMLElement;
  upload: Upload;
  file: Attachment | null;
}

export class Composer {
  readonly node: HTMLElement;
  readonly text: HTMLTextAreaElement;
  #send: HTMLButtonElement;
  #stop: HTMLButtonElement;
  #attach: HTMLButtonElement;
  #picker: HTMLInputElement;
  #chips: HTMLElement;
  #banner: HTMLElement;
  #hint: HTMLElement;
  #files: Chip[] = [];
  #rules: Uploading | null = null;
  #edits = "";
  #answering = false;

  constructor(
    private words: Words,
    private acts: ComposerActs,
    private store: Store,
  ) {
    const { say } = words;
    this.text = h("textarea", {
      id: "text",
      rows: 1,
      autocomplete: "off",
      placeholder: say("placeholder"),
      "aria-label": say("label"),
    });
    this.#send = h(
      "button",
      { type: "submit", id: "send", class: "round", "aria-label": say("send"), title: say("send") },
      icon("send", 19),
    );
    this.#stop = h(
      "button",
      {
        type: "button",
        id: "stop",
        class: "round stop",
        "aria-label": say("stop"),
        title: say("stop"),
        hidden: true,
        click: () => this.#stopped(),
      },
      icon("stop", 19),
    );
    this.#picker = h("input", {
      type: "file",
      id: "files",
      multiple: true,
      hidden: true,
      tabindex: -1,
      "aria-label": say("attach"),
    });
    this.#attach = iconButton("clip", say("attach"), () => this.#picker.click(), { id: "attach", hidden: true });
    this.#chips = h("div", { class: "chips", hidden: true });
    this.#banner = h(
      "div",
      { class: "banner", hidden: true },
      icon("edit", 15),
      h("span", {}, say("editing")),
      h("button", { type: "button", class: "link-button", click: () => void this.cancelEdit() }, say("cancel")),
    );
    this.#hint = h("p", { class: "hint", id: "hint" }, say("hint"));
    const form = h(
      "form",
      { class: "composer", id: "composer", novalidate: true },
      this.#banner,
      this.#chips,
      h("div", "row", this.#attach, this.#picker, this.text, this.#send, this.#stop),
    );
    this.node = h("footer", "foot-bar", h("div", "column", form, this.#hint));
    this.#listen(form);
    this.show();
  }

  #listen(form: HTMLFormElement): void {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.text.addEventListener("input", () => this.show());
    this.text.addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses a candidate.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#submit();
    });
    this.text.addEventListener("paste", (event) => {
      const files = [...(event.clipboardData?.files ?? [])];
      if (files.length && this.#rules) {
        event.preventDefault();
        this.add(files);
      }
    });
    this.#picker.addEventListener("change", () => {
      this.add([...(this.#picker.files ?? [])]);
      this.#picker.value = "";
    });
  }

  // ---- text ----

  #submit(): void {
    const words = this.text.value.trim();
    const files = this.#files.flatMap((chip) => chip.file ?? []);
    if ((!words && !files.length) || files.length < this.#files.length || this.text.disabled) return;
    const long = words.length > MOST_CHARS || new TextEncoder().encode(JSON.stringify(words)).length > MOST_BYTES;
    this.#hint.textContent = this.words.say(long ? "long" : "hint");
    this.#hint.classList.toggle("bad", long);
    if (long || !this.acts.send(words, files, this.#edits)) return;
    this.text.value = "";
    this.#files = [];
    this.#chips.replaceChildren();
    this.cancelEdit();
  }

  #stopped(): void {
    this.acts.stop();
    this.text.focus();
  }

  answering(answering: boolean): void {
    if (answering === this.#answering) return;
    this.#answering = answering;
    this.show();
  }

  show(): void {
    const ready = Boolean(this.text.value.trim()) || this.#files.length > 0;
    const loading = this.#files.some((chip) => !chip.file);
    const focused = this.#stop.matches(":focus") || this.#send.matches(":focus");
    this.#stop.hidden = !this.#answering;
    this.#send.hidden = this.#answering && !ready;
    this.#send.disabled = !ready || loading;
    this.#chips.hidden = !this.#files.length;
    if (focused && !this.text.disabled) this.text.focus();
    this.text.style.height = "auto";
    const wanted = this.text.scrollHeight; // 0 while it is not shown
    if (wanted) this.text.style.height = `${Math.min(wanted, MOST_HEIGHT)}px`;
  }

  enable(enabled: boolean): void {
    this.text.disabled = !enabled;
    this.#attach.disabled = !enabled;
  }

  get editing(): boolean {
    return Boolean(this.#edits);
  }

  edit(message: Message): void {
    this.#edits = message.id;
    this.text.value = message.text;
    this.#banner.hidden = false;
    this.show();
    this.text.focus();
    this.text.setSelectionRange(this.text.value.length, this.text.value.length);
  }

  // Whether there was an edit to leave.
  cancelEdit(): boolean {
    const editing = this.editing;
    if (this.#edits) this.text.value = "";
    this.#edits = "";
    this.#banner.hidden = true;
    this.show();
    return editing;
  }

  // ---- files ----

  set uploads(rules: Uploading | null) {
    this.#rules = rules;
    this.#attach.hidden = !rules;
    if (rules?.types.length) this.#picker.accept = rules.types.join(",");
  }

  add(files: File[]): void {
    const rules = this.#rules;
    if (!rules || this.text.disabled) return;
    const { say, size } = this.words;
    for (const file of files) {
      if (this.#files.length >= rules.max_files) return this.acts.tell(say("tooMany", rules.max_files));
      if (file.size > rules.max_bytes) this.acts.tell(say("tooLarge", file.name, size(rules.max_bytes)));
      else if (!accepts(rules, file)) this.acts.tell(`${say("uploadFailed", file.name)}: ${say("type_refused")}`);
      else this.#start(file);
    }
    this.text.focus();
  }

  #start(file: File): void {
    const { say, size } = this.words;
    const bar = h("progress", { max: 100, value: 0, "aria-label": file.name });
    const face = h("span", "face-of", icon(file.type.startsWith("image/") ? "image" : "file", 18));
    const info = h("span", "size", size(file.size));
    const chip: Chip = {
      node: h("div", "chip", face, h("span", "what", h("span", "name", file.name), info, bar)),
      upload: null as never,
      file: null,
    };
    const remove = (): void => this.#remove(chip);
    chip.node.append(iconButton("close", say("remove", file.name), remove));
    if (file.type.startsWith("image/")) preview(face, file);
    this.#chips.append(chip.node);
    this.#files.push(chip);
    this.#run(chip, file, bar, info);
    this.show();
  }

  #run(chip: Chip, file: File, bar: HTMLProgressElement, info: HTMLElement): void {
    const { say, size } = this.words;
    chip.node.classList.remove("bad");
    chip.upload = upload(this.acts.uploadsTo(), this.store, file, (share) => {
      bar.value = Math.round(share * 100);
      info.textContent = `${bar.value} %`;
    });
    chip.upload.done.then(
      (found) => {
        chip.file = found;
        chip.node.classList.add("there");
        info.textContent = size(file.size);
        this.show();
      },
      (error: UploadError) => {
        if (error.code === "cancelled") return;
        chip.node.classList.add("bad");
        this.acts.tell(`${say("uploadFailed", file.name)}: ${this.words.refusal(error.code, error.message)}`);
        const again = (): void => this.#run(chip, file, bar, info);
        info.replaceChildren(h("button", { type: "button", class: "link-button", click: again }, say("retry")));
        this.show();
      },
    );
  }

  #remove(chip: Chip): void {
    chip.upload.cancel();
    chip.node.remove();
    this.#files = this.#files.filter((other) => other !== chip);
    this.show();
    this.text.focus();
  }
}

function preview(face: HTMLElement, file: File): void {
  const address = URL.createObjectURL(file);
  const picture = h("img", { alt: "", load: () => URL.revokeObjectURL(address), error: () => picture.remove() });
  picture.src = address;
  face.append(picture);
}
