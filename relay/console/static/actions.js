// Acting in a call: the forms of its page, and whose the call is. The server decides; here is what a form looks like then.
"use strict";

(() => {
  const actions = document.getElementById("actions");
  if (!actions) return;
  const me = actions.dataset.me;
  const take = document.getElementById("take");
  const forms = document.querySelectorAll("form[data-action]");
  const outcomeOf = (form) => form.querySelector(".outcome");

  // ── the key of a form: another one once it was answered, so that the same form sent twice is done once ─────────────

  function newKey(form) {
    const bytes = crypto.getRandomValues(new Uint8Array(16)); // `randomUUID` is only there over HTTPS
    form.elements.key.value = Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");
  }
  forms.forEach(newKey);

  // ── answers: 204 is done, everything else is shown in the form ─────────────────────────────────────────────────────

  const clear = (form) => outcomeOf(form).replaceChildren();

  // What is typed on while a line is on its way is another line: the field is emptied at once, and filled again with a
  // line that was refused. Lines wait for each other, so that they are said in order.
  const say = document.querySelector("form[data-action='say']");
  const lines = []; // those on their way, with their keys
  say.addEventListener("submit", (event) => {
    if (say.elements.text.value.trim()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, { capture: true });
  document.addEventListener("submit", (event) => {
    if (event.target !== say) return; // htmx has read the form by now
    lines.push({ text: say.elements.text.value, key: say.elements.key.value });
    say.elements.text.value = "";
    newKey(say);
    clear(say);
  });

  function answeredLine(isDone, keepsKey) {
    const line = lines.shift();
    if (isDone || !line || say.elements.text.value) return;
    say.elements.text.value = line.text;
    if (keepsKey) say.elements.key.value = line.key;
  }

  function done(form, source) {
    clear(form);
    if (source !== form && form.dataset.action !== "take") return; // the call was taken from somebody; what was typed stays
    form.reset();
    form.closest("dialog")?.close();
  }

  document.addEventListener("htmx:after:request", (event) => {
    const source = event.target;
    const form = source.closest("form[data-action]");
    const status = event.detail.ctx?.response?.status;
    if (!form || !status) return;
    if (source === say) {
      answeredLine(status === 204, false);
      return;
    }
    newKey(form);
    if (status === 204) done(form, source);
  });

  document.addEventListener("htmx:error", (event) => {
    const form = event.target.closest?.("form[data-action]");
    if (!form) return;
    if (form === say) answeredLine(false, true);
    // The key stays: sent again it is not done twice.
    outcomeOf(form).textContent = "No answer came. Look whether it was done; sending it again does not do it twice.";
  });

  for (const form of forms) {
    const mark = () => {
      const field = outcomeOf(form).querySelector("[data-field]")?.dataset.field;
      for (const each of form.elements) {
        if (each.name && each.name === field) each.setAttribute("aria-invalid", "true");
        else each.removeAttribute("aria-invalid");
      }
    };
    new MutationObserver(mark).observe(outcomeOf(form), { childList: true });
  }

  // A number that was changed is to be checked again; a dialog that was closed forgets what it was told.
  document.getElementById("transfer-to").addEventListener("input", (event) => clear(event.target.form));
  for (const dialog of document.querySelectorAll("dialog:has(form[data-action])")) {
    dialog.addEventListener("close", () => clear(dialog.querySelector("form")));
  }

  // ── whose the call is: the stream says who has it, and one button takes it or hands it back, so it keeps the focus ──

  function look() {
    const holder = document.querySelector("[data-holder]")?.dataset.holder ?? "";
    const isMine = holder === me;
    if (take.dataset.mine === String(isMine)) return;
    take.dataset.mine = String(isMine);
    if (isMine) delete take.dataset.opens;
    else take.dataset.opens = "take-over";
    take.querySelector("span").textContent = isMine ? "Hand back" : "Take over…";
  }

  take.addEventListener("click", () => {
    if (take.dataset.mine === "true") document.getElementById("hand-back").requestSubmit();
  });
  new MutationObserver(look).observe(document.getElementById("main"), {
    childList: true, subtree: true, attributes: true, attributeFilter: ["data-holder"],
  });
  look();
})();
