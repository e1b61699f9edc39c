// The telephone in the browser. One socket is one call; what the daemon sends is told as text, never as markup.
// Everything works by typing; a voice and a microphone come on top, and sound leaves the machine only by the switch.
"use strict";

(() => {
  const el = (id) => document.getElementById(id);
  const phone = el("phone");
  if (!phone) return;
  const words = el("words"), captions = el("captions"), log = el("conversation");

  let socket = null;
  let lang = "en-US";
  let since = 0;
  let sent = "";
  let why = "";

  const send = (type, fields = {}) => {
    if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type, ...fields }));
  };
  const isOn = () => phone.dataset.state === "connected";

  // ── what is shown ─────────────────────────────────────────────────────────────────────────────────────────────────

  const STATES = { idle: "Not connected", ringing: "Ringing", connected: "Connected", hold: "On hold", passed: "Passed on" };

  function show(state, detail = "") {
    const was = phone.dataset.state;
    phone.dataset.state = state;
    el("call-state").textContent = STATES[state] + (detail ? `: ${detail}` : "");
    if (state !== was) since = Date.now();
    const busy = state !== "idle";
    const had = document.activeElement;
    el("ring").disabled = false; // which it is until this script is there
    el("ring").hidden = busy;
    el("hang-up").hidden = !busy;
    if (had === el("ring") || had === el("hang-up")) (busy ? el("hang-up") : el("ring")).focus();
    for (const each of ["agent", "aloud"]) el(each).disabled = busy;
    const lost = had === words && !busy;
    // On hold the field only takes nothing: disabled it would lose the focus, with half a sentence in it perhaps.
    words.disabled = !busy;
    words.readOnly = busy && state !== "connected";
    for (const each of [el("say-it"), el("stop"), ...phone.querySelectorAll("[data-dtmf]")]) each.disabled = state !== "connected";
    if (lost) el("ring").focus();
    tick();
  }

  function tick() {
    const seconds = Math.floor((Date.now() - since) / 1000);
    const text = phone.dataset.state === "idle" ? "" : `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    if (el("clock").textContent !== text) el("clock").textContent = text;
  }
  setInterval(tick, 500);

  function tell(text) {
    el("why").textContent = text;
    el("why").hidden = !text;
  }

  // A line keeps its text node, so that it grows in place. The reader who has scrolled up stays there.
  function line(speaker, name, text) {
    const item = document.createElement("li"), who = document.createElement("p"), said = document.createElement("p");
    item.className = `line ${speaker}`;
    who.className = "speaker";
    who.textContent = name;
    said.className = "words";
    const bdi = document.createElement("bdi");
    bdi.dir = "auto";
    bdi.textContent = text;
    said.append(bdi);
    item.append(who, said);
    const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    el("nothing").hidden = true;
    captions.append(item);
    if (follows) log.scrollTop = log.scrollHeight;
    return { item, bdi, text };
  }

  function grow(one, text) {
    const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    one.text += text;
    one.bdi.textContent = one.text;
    if (follows) log.scrollTop = log.scrollHeight;
  }

  function cut(one, heard) {
    const at = one.text.trimStart().startsWith(heard) ? one.text.length - one.text.trimStart().length + heard.length : 0;
    const rest = document.createElement("s"), under = document.createElement("p");
    one.bdi.textContent = one.text.slice(0, at);
    rest.textContent = one.text.slice(at);
    one.bdi.after(" ", rest);
    under.className = "under";
    under.textContent = at ? "heard until here" : "not heard";
    one.item.append(under);
  }

  // ── what is being said: lines that were not heard to their end ────────────────────────────────────────────────────

  let unheard = [];
  let isOpen = false;

  function answer(text, last, preemptible) {
    if (!isOpen) unheard.push({ ...line("client", preemptible ? "Relay, meanwhile" : "Agent", ""), preemptible });
    grow(unheard.at(-1), text);
    isOpen = !last;
    voice.add(text, last, preemptible);
  }

  function heard(text) {
    const place = unheard.findIndex((one) => one.text.trim().startsWith(text));
    if (place < 0) return;
    const whole = unheard[place].text.trim() === text;
    unheard.splice(0, place + (whole || unheard[place].preemptible ? 1 : 0));
  }

  function wasCut(text) {
    const lines = unheard.filter((one) => one.text.trim());
    const place = Math.max(0, lines.findIndex((one) => text && one.text.trim().startsWith(text)));
    for (const one of lines.slice(place)) cut(one, one === lines[place] ? text : "");
    unheard = [];
    isOpen = false;
    voice.stop();
  }

  // ── the voice: sentence by sentence, so that an interruption knows how far it was ─────────────────────────────────

  const voice = {
    isOn: false, waiting: "", queue: [], current: null, done: "", recent: "", timer: 0, preemptible: false, isOpen: false,

    add(text, last, preemptible) {
      if (!this.isOn) return;
      if (this.preemptible && !preemptible) this.stop(false);
      this.preemptible = preemptible;
      this.isOpen = !last;
      this.waiting += text;
      const cuts = /[^.!?。！？…]*[.!?。！？…]+["'”»)]*\s+/gu;
      let end = 0;
      for (const found of this.waiting.matchAll(cuts)) {
        this.queue.push(found[0]);
        end = found.index + found[0].length;
      }
      this.waiting = this.waiting.slice(end);
      if (last && this.waiting) {
        this.queue.push(this.waiting);
        this.waiting = "";
      }
      this.next();
    },

    next() {
      if (this.current !== null) return;
      const sentence = this.queue.shift();
      if (sentence === undefined) {
        if (!this.isOpen && this.done) {
          this.done = "";
          send("speaking", { on: false });
        }
        return;
      }
      if (!this.done) send("speaking", { on: true });
      this.current = sentence;
      this.recent = (this.recent + " " + sentence).slice(-600);
      const over = () => {
        if (this.current !== sentence) return;
        clearTimeout(this.timer);
        this.current = null;
        this.done += sentence;
        send("played", { text: sentence });
        this.next();
      };
      const synthesis = window.speechSynthesis;
      if (synthesis && sentence.trim()) {
        const utterance = new SpeechSynthesisUtterance(sentence);
        utterance.lang = lang;
        utterance.onend = utterance.onerror = over;
        synthesis.speak(utterance);
      }
      // Browsers drop the end of an utterance now and then, or have no voice: then time decides.
      this.timer = setTimeout(over, 800 + (sentence.length / (synthesis ? 8 : 16)) * 1000);
    },

    get isSpeaking() {
      return this.current !== null || this.queue.length > 0;
    },

    // What was heard, the sentence that is being spoken included: how far that is it does not say.
    get heard() {
      return this.done + (this.current ?? "");
    },

    stop(tells = true) {
      clearTimeout(this.timer);
      const spoke = this.isSpeaking || this.done;
      this.queue = [];
      this.waiting = this.done = "";
      this.current = null;
      window.speechSynthesis?.cancel();
      if (spoke && tells) send("speaking", { on: false });
    },
  };

  function interrupt() {
    if (!isOn()) return;
    if (voice.isOn) {
      if (!voice.isSpeaking) return;
      send("interrupt", { heard: voice.heard });
      voice.stop();
    } else if (unheard.length) {
      send("interrupt");
    }
  }

  // ── the microphone: on this device, or by the switch ──────────────────────────────────────────────────────────────

  const Recognition = window.SpeechRecognition || window.webkitSpeechRecognition;
  let recognition = null;
  let partial = null;
  let lastPartial = 0;
  let failures = 0;

  const hearing = (text) => (el("hearing").textContent = text);

  // How loud it is, so that one sees that it hears at all. Only beside recognition on this device: where the browser's
  // online recognition is all there is, as on telephones, two who listen at once take the microphone from each other.
  const volume = {
    stream: null, context: null, timer: 0, opened: 0,

    async open() {
      if (this.opened) return;
      const mine = (this.opened = Date.now());
      const stream = await navigator.mediaDevices?.getUserMedia({ audio: true }).catch(() => null);
      if (!stream) return;
      if (this.opened !== mine) return stream.getTracks().forEach((each) => each.stop());
      this.stream = stream;
      this.context = new AudioContext();
      const analyser = this.context.createAnalyser();
      this.context.createMediaStreamSource(stream).connect(analyser);
      const samples = new Float32Array(analyser.fftSize);
      this.timer = setInterval(() => {
        analyser.getFloatTimeDomainData(samples);
        const power = samples.reduce((sum, each) => sum + each * each, 0) / samples.length;
        el("volume").value = 1 + Math.max(-60, 10 * Math.log10(power)) / 60; // from 60 dB below the loudest
      }, 100);
      el("level").hidden = false;
    },

    close() {
      this.opened = 0;
      clearInterval(this.timer);
      this.stream?.getTracks().forEach((each) => each.stop());
      this.context?.close();
      this.stream = this.context = null;
      el("level").hidden = true;
    },
  };

  // "available" and "downloadable" are of recognition on this device.
  async function onDevice() {
    if (typeof Recognition?.available !== "function") return "unavailable";
    try {
      return await Recognition.available({ langs: [lang], processLocally: true });
    } catch {
      return "unavailable";
    }
  }

  async function listen() {
    const wanted = () => isOn() && el("microphone").checked && el("mute").getAttribute("aria-pressed") !== "true";
    el("mute").disabled = !(isOn() && el("microphone").checked);
    if (!wanted()) return deafen();
    if (recognition) return;
    if (!Recognition) return hearing("This browser recognises no speech. Type instead.");
    const able = await onDevice();
    el("install").hidden = !["downloadable", "downloading"].includes(able);
    const local = able === "available";
    if (!local && !el("online").checked) {
      return hearing(
        able === "unavailable"
          ? "This browser cannot recognise speech on this device. Type, or switch its online recognition on."
          : "Recognition for this device is not installed yet. Install it, or type.",
      );
    }
    if (recognition || !wanted()) return;
    const mine = (recognition = new Recognition());
    mine.lang = lang;
    mine.continuous = true;
    mine.interimResults = true;
    if (local) mine.processLocally = true;
    mine.onresult = recognised;
    mine.onerror = (event) => {
      if (event.error === "no-speech" || event.error === "aborted") return;
      failures += 1;
      hearing(`The microphone cannot be used (${event.error}). Type instead.`);
    };
    mine.onend = () => {
      if (recognition !== mine) return;
      recognition = null;
      // Browsers end it by themselves after a silence.
      if (failures < 3) setTimeout(listen, 300);
      else volume.close();
    };
    try {
      mine.start();
      hearing(local ? "Listening, on this device." : "Listening, by the browser's online recognition.");
      if (local) volume.open();
    } catch (error) {
      recognition = null;
      hearing(`The microphone cannot be used (${error.name}). Type instead.`);
    }
  }

  function deafen() {
    const mine = recognition;
    recognition = null;
    mine?.abort();
    volume.close();
    partial?.item.remove();
    partial = null;
    if (isOn()) hearing("The microphone is off. Typing works without it.");
  }

  const plain = (text) => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();

  // Without headphones the microphone hears our own voice, too.
  const isEcho = (text) => !el("headphones").checked && voice.isOn && plain(voice.recent).includes(plain(text));

  function recognised(event) {
    if (!isOn() || !recognition) return;
    let guess = "";
    for (let at = event.resultIndex; at < event.results.length; at += 1) {
      const text = event.results[at][0].transcript.trim();
      if (!event.results[at].isFinal) guess += ` ${text}`;
      else if (text && !isEcho(text)) speak(text);
    }
    guess = guess.trim();
    if (!guess) return;
    if (voice.isOn && voice.isSpeaking) {
      if (!el("headphones").checked) return;
      interrupt();
    }
    partial ??= line("caller partial", "You", "");
    partial.bdi.textContent = partial.text = guess;
    if (Date.now() - lastPartial < 200) return;
    lastPartial = Date.now();
    send("say", { text: guess, last: false });
  }

  // ── what the caller does ──────────────────────────────────────────────────────────────────────────────────────────

  function speak(text) {
    partial?.item.remove();
    partial = null;
    interrupt();
    line("caller", "You", text);
    send("say", { text, last: true });
  }

  function press(key) {
    if (!isOn()) return;
    send("press", { key });
    sent += key;
    el("sent").textContent = sent;
  }

  function ring() {
    if (socket) return;
    captions.replaceChildren();
    unheard = [];
    isOpen = false;
    sent = why = "";
    failures = 0;
    el("sent").textContent = "none yet";
    tell("");
    voice.isOn = el("aloud").checked;
    show("ringing");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const mine = (socket = new WebSocket(`${scheme}://${location.host}/console/phone?agent=${encodeURIComponent(el("agent").value)}`));
    mine.addEventListener("open", () => send("ring", { aloud: voice.isOn }));
    mine.addEventListener("message", (event) => {
      if (mine === socket) take(JSON.parse(event.data));
    });
    mine.addEventListener("close", (event) => {
      if (mine === socket) over(event);
    });
  }

  function take(frame) {
    switch (frame.type) {
      case "ringing":
        break;
      case "connected":
        lang = frame.lang;
        show("connected");
        if (frame.greeting) answer(frame.greeting, true, false);
        if (document.activeElement === el("hang-up")) words.focus();
        listen();
        break;
      case "token":
        answer(frame.text, frame.last, frame.preemptible);
        break;
      case "heard":
        heard(frame.text);
        break;
      case "cut":
        wasCut(frame.heard);
        break;
      case "on_hold":
        if (frame.answered) show("passed", `connected to ${frame.number}`);
        else show("hold", `${frame.number} rings`);
        listen();
        break;
      case "note":
        tell(frame.text);
        break;
      case "ended":
        why = frame.why;
        break;
    }
  }

  function over(event) {
    const lost = event.code === 1006 ? "The connection was lost, or the console did not let the phone in. Reload the page." : "";
    const large = event.code === 1009 ? "The page sent too much at once. Reload it." : "";
    socket = null;
    deafen();
    voice.stop(false);
    show("idle");
    listen();
    hearing("Typing works without either.");
    tell(why || event.reason || large || lost || "The call is over.");
  }

  el("ring").addEventListener("click", ring);
  el("hang-up").addEventListener("click", () => {
    send("hang_up");
    if (socket?.readyState !== WebSocket.OPEN) socket?.close();
  });
  el("stop").addEventListener("click", interrupt);
  el("say").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = words.value.trim();
    if (!text || !isOn()) return;
    words.value = "";
    speak(text);
  });
  // The first keystroke over an answer is an interruption, as the first word is.
  words.addEventListener("input", () => {
    if (words.value.length === 1) interrupt();
  });
  for (const each of phone.querySelectorAll("[data-dtmf]")) each.addEventListener("click", () => press(each.dataset.dtmf));
  for (const each of ["microphone", "online"]) {
    el(each).addEventListener("change", () => {
      deafen();
      failures = 0;
      listen();
    });
  }
  el("mute").addEventListener("click", () => {
    const on = el("mute").getAttribute("aria-pressed") !== "true";
    el("mute").setAttribute("aria-pressed", String(on));
    listen();
  });
  el("install").addEventListener("click", async () => {
    hearing("Installing…");
    const done = await Recognition.install({ langs: [lang], processLocally: true }).catch(() => false);
    el("install").hidden = done;
    if (done) listen();
    else hearing("It could not be installed. Type instead.");
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !isOn()) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") return interrupt();
    if (localStorage.getItem("relay-keys-off") === "true") return;
    if (event.target.closest("input:not([type=checkbox]), select, textarea") || !/^[0-9*#]$/.test(event.key)) return;
    event.preventDefault();
    press(event.key);
  });
  window.addEventListener("pagehide", () => socket?.close());

  show("idle");
})();
