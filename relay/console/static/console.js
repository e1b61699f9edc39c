// What every page of the console does by itself: dialogs, keys, clocks, following, and what its stream's state is.
// Of htmx only the names of its stream's events are known here, and nothing is fetched.
"use strict";

(() => {
  const root = document.documentElement;

  // ── dialogs: a button with data-opens="id" opens one; a <button data-closes> in it, or Escape, closes it ───────────

  function open(id) {
    const dialog = document.getElementById(id);
    if (!(dialog instanceof HTMLDialogElement) || dialog.open) return;
    dialog.showModal();
    // The safe button has `autofocus`; the button that opened it gets the focus back, which the browser sees to.
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-opens], [data-closes]");
    if (!button || button.disabled) return;
    if (button.hasAttribute("data-closes")) button.closest("dialog")?.close();
    else open(button.dataset.opens);
  });

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
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
    else if (key === "End" && talk) toEnd();
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

  // On a telephone the sections are wider than the window: the one that is open is to be seen.
  document.querySelector("nav a[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });

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

  // ── what a stream replaces: clocks go on before it is painted, the title counts, the end is followed ──────────────

  const talk = document.getElementById("talk");
  const newer = document.getElementById("newer");
  const lines = () => document.querySelectorAll("#conversation > li").length;
  let follows = true;
  let seen = lines();

  function toEnd() {
    follows = true;
    talk.scrollTop = talk.scrollHeight;
    afterLines();
  }

  // Only while the reader is at the end: one who has scrolled up reads, and is told how much has come since.
  function afterLines() {
    if (!talk) return;
    if (follows) {
      talk.scrollTop = talk.scrollHeight;
      seen = lines();
    }
    const more = Math.max(0, lines() - seen);
    newer.hidden = more === 0;
    const words = more === 1 ? "1 new line ↓" : `${more} new lines ↓`;
    if (newer.textContent !== words) newer.textContent = words;
  }

  if (talk) {
    talk.addEventListener("scroll", () => {
      follows = talk.scrollHeight - talk.scrollTop - talk.clientHeight < 40;
      if (follows) afterLines();
    });
    newer.addEventListener("click", () => {
      toEnd();
      talk.focus();
    });
    toEnd();
  }

  let announcedAt = 0;
  function afterChange() {
    tick();
    afterLines();
    const title = document.querySelector("[data-title]")?.dataset.title;
    if (title && document.title !== `${title} · relay`) document.title = `${title} · relay`;
    // For screen readers the number of calls, at most every ten seconds: the list itself would never be silent.
    const live = document.querySelector("[data-live]")?.dataset.live;
    const announced = document.getElementById("announced");
    if (live === undefined || !announced || Date.now() - announcedAt < 10000) return;
    const words = live === "1" ? "1 live call" : `${live} live calls`;
    if (announced.textContent !== words) {
      announced.textContent = words;
      announcedAt = Date.now();
    }
  }
  new MutationObserver(afterChange).observe(document.getElementById("main") ?? document.body, { childList: true, subtree: true, characterData: true, attributes: true, attributeFilter: ["data-title", "data-live", "data-since"] });

  // ── the stream: live, paused for another tab, or lost; what is an old picture is not acted on ─────────────────────

  const stream = document.querySelector("[data-stream]");
  const LOST_AFTER = 3000;
  let lostAt = 0; // when the connection was lost, 0 while it is there
  let asOf = new Date(); // when the last news came
  let paused = false;

  function show(kind, words) {
    const state = document.getElementById("state");
    const text = state?.querySelector(".words");
    if (!text || (state.dataset.state === kind && text.textContent === words)) return;
    state.dataset.state = kind;
    text.textContent = words;
  }

  function setOff(off) {
    if (root.classList.contains("off") === off) return;
    root.classList.toggle("off", off);
    for (const each of document.querySelectorAll(".act, .say :is(button, input, textarea), dialog form [data-acts]")) each.disabled = off;
    if (!off) tick();
  }

  function lookAtStream() {
    const banner = document.getElementById("lost");
    const isLost = lostAt !== 0 && !paused && !document.hidden && Date.now() - lostAt > LOST_AFTER;
    if (paused) show("paused", "paused: live in another tab");
    else if (isLost) show("lost", `lost since ${new Date(lostAt).toLocaleTimeString()}`);
    else if (lostAt === 0) show("live", "live");
    setOff(isLost || paused);
    banner.hidden = !isLost;
    if (isLost) banner.querySelector("span").textContent = `Connection lost, trying again. This is as of ${asOf.toLocaleTimeString()}.`;
  }

  const here = () => location.pathname + location.search;
  const signIn = () => location.assign(`/console/sign-in?next=${encodeURIComponent(here())}`);

  function refused(status, retryAfter) {
    if (status === 401) signIn();
    else if (status === 404) location.reload(); // the call is over: its page says so
    else if (status >= 400) setTimeout(resume, 1000 * (Number(retryAfter) || 5));
  }

  function lose() {
    if (lostAt === 0 && !paused) lostAt = Date.now();
    lookAtStream();
  }

  function resume() {
    if (!paused && lostAt === 0) return;
    stream.dispatchEvent(new Event("resume"));
  }

  if (stream) {
    lostAt = Date.now();
    show("still", "connecting");
    stream.addEventListener("htmx:sse:after:connection", () => {
      lostAt = 0;
      paused = false;
      lookAtStream();
    });
    stream.addEventListener("htmx:sse:after:message", () => (asOf = new Date()));
    stream.addEventListener("htmx:sse:before:connection", lose);
    stream.addEventListener("htmx:sse:close", lose);
    stream.addEventListener("htmx:sse:error", (event) => {
      lose();
      if (event.detail?.status) refused(event.detail.status);
    });
    stream.addEventListener("htmx:response:error", (event) => {
      lose();
      const response = event.detail?.ctx?.response;
      refused(response?.status, response?.headers?.get?.("Retry-After"));
    });
    stream.addEventListener("htmx:error", () => {
      lose();
      setTimeout(resume, 2000);
    });
    stream.addEventListener("pause", () => {
      paused = true;
      lookAtStream();
    });
    stream.addEventListener("bye", (event) => {
      if (event.detail?.data === "signed_out") signIn();
    });
    for (const name of ["focus", "pointerdown", "keydown"]) window.addEventListener(name, () => paused && resume());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      asOf = new Date();
      if (lostAt !== 0) lostAt = Date.now();
      if (paused) resume();
    });
    setInterval(lookAtStream, 500);
  }
})();
