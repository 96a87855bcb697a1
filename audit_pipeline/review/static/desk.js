// Keys, selection, live updates. Everything works without it, with more clicks.
"use strict";

const VERDICTS = { a: "approved", r: "rejected", f: "false_positive", m: "needs_more_info" };
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);

let current = 0; // which row of the queue the keys are about
let currentId = null;

function rows() {
  return all("#rows tr.flag");
}

function show(scroll) {
  const listed = rows();
  if (!listed.length) { currentId = null; return; }
  const again = listed.findIndex((row) => row.dataset.flag === currentId);
  current = again >= 0 ? again : Math.min(current, listed.length - 1);
  listed.forEach((row, at) => {
    row.classList.toggle("current", at === current);
    if (at === current) row.setAttribute("aria-current", "true"); else row.removeAttribute("aria-current");
  });
  currentId = listed[current].dataset.flag;
  if (scroll) listed[current].scrollIntoView({ block: "nearest" });
}

function move(step) {
  const listed = rows();
  if (!listed.length) return;
  const next = current + step;
  if (next >= listed.length && one("#following")) { location.assign(one("#following").href); return; }
  current = Math.max(0, Math.min(next, listed.length - 1));
  currentId = listed[current].dataset.flag;
  show(true);
}

// The flag that a key decides: that of the page, or the current row of the queue.
function flagInHand() {
  const card = one("[data-open-flag]");
  return card ? card.dataset.openFlag : currentId;
}

function decide(verdict) {
  const form = one("#decision");
  if (form) {
    const choice = one(`input[name=verdict][value=${verdict}]`, form);
    choice.checked = true;
    choice.dispatchEvent(new Event("change", { bubbles: true }));
    form.requestSubmit();
    return;
  }
  const flag = flagInHand();
  if (!flag || !one("#bulk-bar")) return;
  currentId = null; // the row goes; the one in its place is the next
  htmx.ajax("POST", `/flags/${flag}/decide`, { values: { verdict }, target: "#toasts", swap: "innerHTML", source: document.body });
}

function count() {
  const bar = one("#bulk-bar");
  if (!bar) return;
  const chosen = all("#rows input[name=ids]:checked").length;
  bar.hidden = chosen === 0;
  one("#bulk-count").textContent = `${chosen} selected`;
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  Enter: () => { const listed = rows(); if (listed.length) location.assign(one(".what a", listed[current]).href); },
  x: () => { const box = one("input[name=ids]", rows()[current] || document.createElement("i")); if (box) { box.checked = !box.checked; count(); } },
  u: () => { const undo = one("#undo"); if (undo) undo.click(); },
  n: () => { const next = one("#take-next"); if (next) next.click(); },
  g: () => location.assign("/flags"),
  "/": () => { const search = one("#search"); if (search) search.focus(); else location.assign("/flags"); },
  "?": () => { const help = one("#help"); if (help) help.showModal(); },
};
for (const [key, verdict] of Object.entries(VERDICTS)) KEYS[key] = () => decide(verdict);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.repeat && event.key !== "j" && event.key !== "k") return;
  const at = event.target;
  if (at.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, dialog")) return;
  if (event.key === "Enter" && at.closest("a, button, summary, label")) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

document.addEventListener("change", (event) => {
  if (event.target.id === "select-all") {
    all("#rows input[name=ids]").forEach((box) => { box.checked = event.target.checked; });
  }
  if (event.target.name === "verdict") {
    const usual = event.target.dataset.reason;
    const reason = one("#decision [name=reason]");
    if (usual && reason) reason.value = usual;
  }
  count();
});

document.addEventListener("click", (event) => {
  if (event.target.closest("#show-help")) one("#help").showModal();
  if (event.target.closest("#paper")) {
    const chosen = all("#rows input[name=ids]:checked").map((box) => ["flag_id", box.value]);
    location.assign(`/workpaper?${new URLSearchParams(chosen)}`);
  }
});

let chosenBefore = [];
document.addEventListener("htmx:before:swap", () => {
  chosenBefore = all("#rows input[name=ids]:checked").map((box) => box.value);
});
document.addEventListener("htmx:after:swap", () => {
  const kept = new Set(chosenBefore);
  all("#rows input[name=ids]").forEach((box) => { if (kept.has(box.value)) box.checked = true; });
  show(false);
  count();
});

function listen() {
  const source = new EventSource("/events");
  source.addEventListener("changed", () => document.body.dispatchEvent(new CustomEvent("flags-changed")));
  addEventListener("pagehide", () => source.close());
}

document.addEventListener("DOMContentLoaded", () => {
  show(false);
  count();
  if (one("#counts") || one("[data-open-flag]")) listen();
});
