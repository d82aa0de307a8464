// The chat page: the line to the hub, what waits to be sent, and what is shown, tied together.

import { Outbox, Store } from "./outbox.js";
import { Line } from "./transport.js";
import { View } from "./view.js";
import { language, say } from "./words.js";

const byId = (id) => document.getElementById(id);
const publicId = document.body.dataset.publicId;
const [text, send, stop, link, anew] = ["text", "send", "stop", "link", "anew"].map(byId);

const MOST_BYTES = 60_000; // a frame holds 64 KiB
const store = new Store(`hub-chat:${publicId}`);
const view = new View();
const line = new Line(publicId, store);
const outbox = new Outbox(store, line);

// ---- what the hub says ----

const FRAMES = {
  welcome(frame) {
    if (frame.changed) view.clear();
    for (const message of outbox.waiting) view.pend(message);
    view.showEmpty(!frame.session);
    outbox.flush();
  },
  session(frame) {
    if (frame.changed) view.clear();
    for (const message of outbox.waiting) view.pend(message);
  },
  ack(frame) {
    outbox.done(frame.client_id);
    if (view.has(frame.seq)) view.forget(frame.client_id);
  },
  message(frame) {
    if (frame.message.client_id) outbox.done(frame.message.client_id);
    view.store(frame.message);
  },
  begin(frame) {
    view.begin(frame.turn_id);
    view.text("", { replace: true });
  },
  delta: (frame) => view.text(frame.text),
  status: (frame) => view.doing(frame.state, frame.detail),
  restart: () => view.text("", { replace: true }),
  reset(frame) {
    view.begin(frame.turn_id);
    view.text("", { replace: true });
  },
  gap: (frame) => view.gap(frame.text),
  error(frame) {
    if (frame.retry_after) {
      setTimeout(() => outbox.flush(), frame.retry_after * 1000);
      return;
    }
    const message = outbox.waiting.find((waiting) => waiting.id === frame.client_id);
    if (message) {
      outbox.done(message.id);
      view.fail(message.id, frame.message ?? frame.code, () => speak(message.text));
    }
  },
};

line.addEventListener("frame", ({ detail: frame }) => {
  FRAMES[frame.type]?.(frame);
  show();
});
line.addEventListener("state", ({ detail: state }) => {
  link.dataset.state = state;
  link.lastElementChild.textContent = say(state);
});

// ---- what the visitor does ----

function speak(words) {
  const trimmed = words.trim();
  if (!trimmed || outbox.full) return false;
  const long = new TextEncoder().encode(JSON.stringify(trimmed)).length > MOST_BYTES;
  byId("hint").textContent = say(long ? "long" : "hint");
  if (long) return false;
  view.pend(outbox.add(trimmed));
  return true;
}

function submit() {
  if (!speak(text.value)) return;
  text.value = "";
  grow();
  show();
}

function show() {
  const answering = view.answering;
  stop.hidden = !answering;
  send.hidden = answering && !text.value.trim();
  send.disabled = !text.value.trim();
  anew.hidden = !store.session;
}

function grow() {
  text.style.height = "auto";
  text.style.height = `${Math.min(text.scrollHeight, 200)}px`;
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
text.addEventListener("input", () => {
  grow();
  show();
});
text.addEventListener("keydown", (event) => {
  // While an input method composes, Enter chooses a candidate.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && view.answering) line.stop();
});
stop.addEventListener("click", () => {
  line.stop();
  text.focus();
});
anew.addEventListener("click", () => {
  if (!confirm(say("anewAsk"))) return;
  line.close();
  store.clear();
  view.clear();
  line.open();
  text.focus();
});
document.addEventListener("choice", ({ detail }) => speak(detail));

// ---- begin ----

document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
document.title = say("title");
document.querySelector("h1").textContent = say("assistant");
text.placeholder = say("placeholder");
text.setAttribute("aria-label", say("label"));
send.setAttribute("aria-label", say("send"));
stop.setAttribute("aria-label", say("stop"));
byId("down").setAttribute("aria-label", say("down"));
byId("hint").textContent = say("hint");
byId("empty").lastElementChild.textContent = say(publicId ? "empty" : "missing");
anew.textContent = say("anew");
show();
if (publicId) line.open();
else {
  view.showEmpty(true);
  link.dataset.state = "closed";
  text.disabled = true;
}
