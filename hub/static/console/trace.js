// Pages that follow what happens: a turn at work, a conversation, a long operation; and words opened on demand.
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const visible = () => document.visibilityState === "visible";

async function fragment(url) {
  const answer = await fetch(url, { headers: { "X-Requested-With": "fetch" }, credentials: "same-origin" });
  if (!answer.ok || answer.redirected) return null;
  return answer.text();
}

async function follow(box) {
  // Replace the content until it says that it has ended; slower while nothing answers.
  let pause = Number(box.dataset.pollEvery || 1500);
  while (box.isConnected && box.dataset.poll) {
    await wait(pause);
    if (!visible()) continue;
    try {
      const html = await fragment(box.dataset.poll);
      if (html === null) return;
      if (html !== box.dataset.before) { box.innerHTML = html; box.dataset.before = html; }
      pause = Number(box.dataset.pollEvery || 1500);
    } catch { pause = Math.min(pause * 2, 20000); }
    if (!box.querySelector(".trace-running, .progress-running")) return;
  }
}

async function followConversation(box) {
  const lines = box.querySelector(".transcript-lines");
  let pause = 2000;
  while (box.isConnected) {
    await wait(pause);
    if (!visible()) continue;
    const now = box.querySelector(".now");
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 160;
    try {
      const html = await fragment(`${box.dataset.follow}${now.dataset.last}`);
      if (html === null) return;
      const fresh = new DOMParser().parseFromString(html, "text/html");
      const added = [...fresh.querySelectorAll(".fresh > *")];
      const shown = new Set([...lines.querySelectorAll(".day")].map((day) => day.textContent.trim()));
      for (const node of added) {
        if (node.matches(".day") && shown.has(node.textContent.trim())) continue;
        if (node.id && document.getElementById(node.id)) continue;
        lines.append(node);
      }
      const next = fresh.querySelector(".now");
      if (next && next.innerHTML !== now.innerHTML) now.replaceChildren(...next.childNodes);
      if (next) now.dataset.last = next.dataset.last;
      if (atEnd && (added.length || next.textContent.trim())) scrollTo(0, document.documentElement.scrollHeight);
      pause = next && next.textContent.trim() ? 1000 : 2500;
    } catch { pause = Math.min(pause * 2, 20000); }
  }
}

document.addEventListener("toggle", async (event) => {
  const details = event.target;
  if (!details.open || !details.dataset || !details.dataset.load || details.dataset.loaded) return;
  details.dataset.loaded = "1";
  const html = await fragment(details.dataset.load).catch(() => null);
  if (html !== null) details.querySelector(".tool-words").innerHTML = html;
  else delete details.dataset.loaded;
}, true);

document.addEventListener("submit", (event) => {
  // A second click on the same button changes nothing on the server; it should not even be sent.
  const form = event.target.closest("form[data-once]");
  if (!form) return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "1";
  setTimeout(() => form.querySelectorAll("button").forEach((button) => { button.disabled = true; }), 0);
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-live-test]");
  if (!button) return;
  event.preventDefault();
  const output = button.closest(".live-test").querySelector("output");
  button.disabled = true;
  output.innerHTML = '<span class="dots"><i></i><i></i><i></i></span>';
  try {
    const body = new FormData(button.form);
    const answer = await fetch(button.dataset.liveTest, { method: "POST", body, credentials: "same-origin" });
    output.innerHTML = await answer.text();
  } catch { output.textContent = button.dataset.failed; }
  button.disabled = false;
});

addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-poll]").forEach(follow);
  document.querySelectorAll("[data-follow]").forEach(followConversation);
  const picked = location.hash.startsWith("#turn-") ? location.hash.slice(6) : "";
  const line = picked && document.querySelector(`[data-turn="${CSS.escape(picked)}"]`);
  if (line) { line.classList.add("line-picked"); line.scrollIntoView({ block: "center" }); }
});
