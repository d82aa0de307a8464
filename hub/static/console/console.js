// The console's few lines of behaviour: copy values, and find a tenant by typing.
document.addEventListener("click", async (event) => {
  const button = event.target.closest(".copy-button");
  if (!button) return;
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "✓";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(button.previousElementSibling);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  }
  setTimeout(() => { button.textContent = before; }, 1500);
});

function tenantSwitch(input) {
  const list = document.getElementById("tenant-list"), chosen = document.getElementById("tenant-id");
  const shown = input.value;
  let active = -1, asked = 0, timer;
  const options = () => [...list.children].filter((one) => one.role === "option");
  const close = () => { list.hidden = true; input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant"); };
  const pick = (option) => { chosen.value = option.dataset.id; input.form.submit(); };
  const highlight = (place) => {
    const all = options();
    if (!all.length) return;
    active = (place + all.length) % all.length;
    all.forEach((one, n) => one.setAttribute("aria-selected", String(n === active)));
    all[active].scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", all[active].id);
  };
  const item = (id, name, note) => {
    const one = document.createElement("li"), text = document.createElement("span");
    one.role = "option"; one.id = `tenant-${id || "all"}`; one.dataset.id = id;
    one.setAttribute("aria-selected", "false");
    text.textContent = name; one.append(text);
    if (note) { const small = document.createElement("small"); small.textContent = note; one.append(small); }
    if (id === input.dataset.tenant) one.classList.add("here");
    return one;
  };
  const ask = async (wanted) => {
    const number = ++asked;
    const answer = await fetch(`${input.dataset.find}?q=${encodeURIComponent(wanted)}`, { headers: { Accept: "application/json" } });
    if (!answer.ok || number !== asked) return;
    const found = await answer.json();
    const rows = found.tenants.map((one) => item(one.id, one.name, one.status === "active" ? one.slug : input.dataset.suspended));
    if (found.all && !wanted) rows.unshift(item("", input.dataset.all, ""));
    if (!rows.length) { const none = document.createElement("li"); none.className = "none"; none.textContent = input.dataset.none; rows.push(none); }
    list.replaceChildren(...rows);
    list.hidden = false; active = -1;
    input.setAttribute("aria-expanded", "true");
    if (wanted) highlight(0);
  };
  input.addEventListener("focus", () => { input.value = ""; ask(""); });
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => ask(input.value.trim()), 120); });
  input.addEventListener("blur", () => { setTimeout(() => { close(); input.value = shown; }, 150); });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); highlight(active + (event.key === "ArrowDown" ? 1 : -1)); }
    if (event.key === "Enter") { event.preventDefault(); if (options()[active]) pick(options()[active]); }
    if (event.key === "Escape") input.blur();
  });
  list.addEventListener("mousedown", (event) => {
    const option = event.target.closest("[role=option]");
    event.preventDefault();
    if (option) pick(option);
  });
}
document.addEventListener("DOMContentLoaded", () => {
  // On a phone the columns' names stand before their values: written as they are in the head of the table.
  for (const cell of document.querySelectorAll("#result_list [data-label]")) {
    const name = cell.dataset.label;
    cell.dataset.label = name.charAt(0).toUpperCase() + name.slice(1);
  }
  // The theme says nowhere what is its head and what its content.
  document.getElementById("header-inner")?.setAttribute("role", "banner");
  document.getElementById("content")?.setAttribute("role", "main");
  const input = document.getElementById("tenant-choice");
  if (input) tenantSwitch(input);
});
