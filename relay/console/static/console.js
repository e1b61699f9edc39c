// What every page of the console does by itself: dialogs, keys, clocks. Nothing here knows htmx, and nothing is fetched.
"use strict";

(() => {
  const root = document.documentElement;

  // ── dialogs: a button with data-opens="id" opens one; a <button data-closes> in it, or Escape, closes it ───────────

  function open(id) {
    const dialog = document.getElementById(id);
    if (!(dialog instanceof HTMLDialogElement) || dialog.open) return;
    dialog.showModal();
    // The safe button has `autofocus`; whoever opened it gets the focus back, which the browser sees to.
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-opens], [data-closes]");
    if (!button || button.disabled) return;
    if (button.hasAttribute("data-closes")) button.closest("dialog")?.close();
    else open(button.dataset.opens);
  });

  // A form that was sent is not sent again by a double click; the server knows the key of each form, too.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method === "dialog" || form.dataset.action !== undefined) return; // closes one, or sees to it by itself
    if (form.dataset.sent) event.preventDefault();
    else form.dataset.sent = "true";
  });
  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });

  // ── keys: single ones, never in a field, never with a modifier, and off by a switch (WCAG 2.1.4) ──────────────────

  const PAGES = { l: "/console", m: "/console/messages", a: "/console/agents", h: "/console/history", p: "/console/phone" };
  const OFF = "relay-keys-off";
  let goes = false;

  const isOff = () => localStorage.getItem(OFF) === "true";
  const isField = (element) => element.closest("input, select, textarea, [contenteditable]") !== null;
  const rows = () => [...document.querySelectorAll("main tbody tr")].filter((row) => row.querySelector("a"));

  function step(by) {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const next = all[Math.min(Math.max(at + by, 0), all.length - 1)];
    next.querySelector("a").focus();
    next.scrollIntoView({ block: "nearest" });
  }

  function press(key) {
    if (goes) {
      goes = false;
      if (PAGES[key] && document.querySelector(`nav a[href="${PAGES[key]}"]`)) location.assign(PAGES[key]);
      return Boolean(PAGES[key]);
    }
    if (key === "g") goes = true;
    else if (key === "?") open("keys");
    else if (key === "/") document.querySelector("[data-filter]")?.focus();
    else if (key === "j") step(1);
    else if (key === "k") step(-1);
    else {
      const button = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
      if (!button || button.disabled) return false;
      if (button.matches("input, textarea")) button.focus();
      else button.click();
    }
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (isOff() || isField(event.target) || document.querySelector("dialog[open]")) return;
    if (press(event.key)) event.preventDefault();
  });

  const off = document.getElementById("keys-off");
  if (off) {
    off.checked = isOff();
    off.addEventListener("change", () => localStorage.setItem(OFF, String(off.checked)));
  }

  // ── clocks: <time data-since="2026-…Z"> counts on, unless the page is an old picture ──────────────────────────────

  function length(seconds) {
    const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
    return h ? `${h}:${String(m).padStart(2, "0")}:${String(s).padStart(2, "0")}` : `${m}:${String(s).padStart(2, "0")}`;
  }

  function tick() {
    if (root.classList.contains("off")) return;
    for (const each of document.querySelectorAll("time[data-since]")) {
      const text = length(Math.max(0, (Date.now() - Date.parse(each.dataset.since)) / 1000));
      if (each.textContent !== text) each.textContent = text;
    }
  }

  tick();
  setInterval(tick, 1000);
})();
