// What the tenant wants to know before the first message.

import { h } from "./dom.js";
import type { Field } from "./types.js";
import type { Words } from "./words.js";

const AUTOCOMPLETE: Record<string, string> = {
  email: "email",
  tel: "tel",
  name: "name",
  phone: "tel",
  company: "organization",
};

export function askForm(fields: Field[], words: Words, done: (answers: Record<string, string>) => void): HTMLElement {
  const { say } = words;
  const inputs = new Map(fields.map((field) => [field.name, input(field)]));
  const rows = fields.map((field) => {
    const label = field.label || (words.knows(field.name) ? say(field.name) : field.name);
    const mark = field.required && h("span", { class: "required", "aria-hidden": "true" }, " *");
    return h("label", "field", h("span", {}, label, mark), inputs.get(field.name));
  });
  const submit = (event: Event): void => {
    event.preventDefault();
    if (!form.reportValidity()) return;
    done(Object.fromEntries([...inputs].map(([name, box]) => [name, box.value.trim()]).filter(([, value]) => value)));
  };
  const form: HTMLFormElement = h(
    "form",
    { class: "ask", id: "ask", submit, "aria-label": say("formTitle") },
    h("h2", {}, say("formTitle")),
    ...rows,
    h("button", { type: "submit", class: "primary" }, say("formSend")),
  );
  return form;
}

function input(field: Field): HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement {
  const common = { name: field.name, required: field.required };
  if (field.kind === "long") return h("textarea", { ...common, rows: 3, maxlength: 2000 });
  if (field.kind === "choice") {
    return h("select", common, ...["", ...field.options].map((option) => h("option", { value: option }, option)));
  }
  const autocomplete = AUTOCOMPLETE[field.kind] ?? AUTOCOMPLETE[field.name] ?? "on";
  return h("input", { ...common, type: field.kind, maxlength: 500, autocomplete });
}
