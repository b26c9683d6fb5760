// Joins the parts of the page.

import { Captions } from "./captions.js";
import { Drawer } from "./drawer.js";
import { copyText, saveFile } from "./files.js";
import { asText, FORMATS, shortTime } from "./formats.js";
import { median } from "./latency.js";
import { Options } from "./options.js";
import { problem } from "./problems.js";
import { Recording } from "./recording.js";
import { loadConfig, openSocket, readiness, whyNot } from "./server.js";
import { openMicrophone, openRecording, openSample } from "./sources.js";
import { Talk } from "./talk.js";
import { Timeline } from "./timeline.js";
import { Waveform } from "./waveform.js";

const byId = (id) => document.getElementById(id);
const READINESS_MS = 15000;
const PLACE_MS = 200;
const BRIEFLY_MS = 10000;
const STATES = {
  ready: (room) => `Ready, room for ${room} more`,
  busy: () => "Busy: no room for another session just now",
  leaving: () => "Shutting down",
  gone: () => "Cannot be reached",
};
const START = { microphone: "Start listening", file: "Start", sample: "Play the sample" };

let config = { version: "", model: "qwen3-asr-flash-realtime", languages: [] };
let recording, applied, starting;

const drawer = new Drawer(byId);
const captions = new Captions({ pane: byId("captions"), list: byId("utterances"), latest: byId("latest"), said: byId("said") });
const timeline = new Timeline(byId("timeline"), (utterance) => captions.reveal(utterance));
const waveform = new Waveform(byId("waveform"));
const options = new Options(byId, showPending);
const talk = new Talk(byId("talk"), { began: () => recording?.hold(), ended: () => recording?.release() });

const source = () => byId("transport").elements.source.value;
const running = () => Boolean(recording) || Boolean(starting);

// ---- one recording

async function start() {
  hideProblem();
  say("");
  starting = true;
  document.body.dataset.session = "opening";
  showRunning();
  const made = new Recording({
    io: { open: () => openSocket(config.model, options.key), why: () => whyNot(config.model, options.key) },
    config: () => {
      applied = options.fingerprint();
      showPending();
      return options.session();
    },
    manual: options.manual,
    on: listener(),
  });
  try {
    await made.open(opener());
  } catch (error) {
    starting = false;
    showRunning();
    return showProblem(error.message, error.details ?? {});
  }
  recording = made;
  clear(made);
  starting = false;
  made.start();
  talk.show(options.manual && made.source.live);
  showRunning();
  return undefined;
}

function opener() {
  const recorded = { pace: byId("pace").value, aloud: byId("aloud").checked };
  if (source() === "microphone") return openMicrophone;
  if (source() === "sample") return (on) => openSample({ ...recorded, ...on });
  const file = byId("file").files[0];
  if (!file) return () => Promise.reject(new Error("no-file"));
  return (on) => openRecording(file, { ...recorded, ...on, name: file.name });
}

function listener() {
  return {
    changed: (utterance) => {
      captions.show(utterance);
      timeline.show(utterance);
      place();
      showFigures();
      allowSaving();
    },
    removed: (utterance) => {
      captions.remove(utterance);
      timeline.remove(utterance);
    },
    grown: (samples) => {
      waveform.push(samples);
      placing ??= setTimeout(place, PLACE_MS);
    },
    event: (direction, event) => {
      drawer.add(direction, event);
      if (event.type === "error") say(`The server says: ${event.error.message}`);
    },
    state: showState,
    lost: ({ pause_ms, status, unreachable, message }) => {
      const wait = `Trying again in ${Math.max(1, Math.round(pause_ms / 1000))} s.`;
      const what = status ? problem(status, { message }).title : unreachable ? "The server cannot be reached" : "The connection was lost";
      say(`${what}. ${wait} ${recording?.source.live && !recording.stopping ? "The microphone goes on; the last 30 s are kept for the server." : "Nothing of the recording is lost."}`);
      askServer();
    },
    back: ({ again_ms, missed_ms }) => {
      const gone = missed_ms > 0 ? ` ${seconds(missed_ms)} of it were too long ago and are lost.` : "";
      say(`Connected. ${seconds(again_ms)} of sound that waited were sent.${gone}`, !gone);
      askServer();
    },
    missed: (missed_ms) => say(`The network is slower than speech: ${seconds(missed_ms)} of sound are lost.`),
    failed: (kind, details) => showProblem(kind, details),
  };
}

function clear(made) {
  captions.clear();
  timeline.clear();
  byId("empty").hidden = true;
  waveform.reset(made.transcript);
  allowSaving();
  showFigures();
}

// ---- what is shown

function showState(state) {
  document.body.dataset.session = state;
  document.body.classList.toggle("listening", state === "open");
  if (state === "over") {
    const ended = recording;
    talk.show(false);
    waveform.draw();
    place();
    recording = undefined;
    byId("empty").hidden = ended.transcript.utterances.length > 0;
    askServer();
  }
  showRunning();
  showPending();
}

let shown; // the recording on the page, also when it is over
let placing; // a timer: sound comes more often than the timeline need move

function place() {
  clearTimeout(placing);
  placing = undefined;
  shown = recording ?? shown;
  if (!shown) return;
  timeline.place(shown.now_ms);
  byId("clock").textContent = shortTime(shown.now_ms);
}

function showRunning() {
  document.body.classList.toggle("running", running());
  const finishing = recording?.stopping;
  byId("start").textContent = finishing ? "Finishing… stop now" : running() ? "Stop" : START[source()];
  byId("file-field").hidden = source() !== "file";
  byId("pace-field").hidden = source() === "microphone";
  byId("aloud-field").hidden = source() === "microphone" || byId("pace").value === "fast";
  for (const field of byId("transport").elements) {
    if (field.type !== "submit" && field.id !== "talk") field.disabled = running();
  }
}

function showPending() {
  byId("pending").hidden = !recording || recording.stopping || applied === undefined || applied === options.fingerprint();
}

function showFigures() {
  const latency = (recording ?? shown)?.latency;
  for (const name of ["first", "interim", "final"]) {
    const figures = latency?.[name] ?? [];
    const cell = byId(`latency-${name}`);
    cell.textContent = figures.length ? milliseconds(median(figures)) : "–";
    if (figures.length) cell.append(Object.assign(document.createElement("small"), { textContent: `last ${milliseconds(figures.at(-1))}` }));
  }
}

function allowSaving() {
  const spoken = (recording ?? shown)?.transcript.spoken() ?? [];
  for (const button of document.querySelectorAll("[data-export], #copy")) button.disabled = !spoken.length;
}

let asked; // the field that a problem is about

function showProblem(kind, details) {
  const { title, text, field } = problem(kind, details);
  byId("problem-title").textContent = title;
  byId("problem-text").textContent = text;
  byId("problem").hidden = false;
  say("");
  asked = field && byId(field);
  if (asked) {
    byId("settings").open = true;
    asked.focus();
  }
}

function hideProblem() {
  byId("problem").hidden = true;
}

let saying; // a timer: good news need not stay

function say(text, briefly = false) {
  clearTimeout(saying);
  byId("notice").textContent = text;
  byId("notice").hidden = !text;
  if (briefly) saying = setTimeout(() => say(""), BRIEFLY_MS);
}

async function askServer() {
  const { state, room } = await readiness();
  byId("server").dataset.state = state;
  byId("server-text").textContent = STATES[state](room) + (config.version && ` · version ${config.version}`);
}

const seconds = (time_ms) => `${(time_ms / 1000).toFixed(1)} s`;
const milliseconds = (time_ms) => (time_ms < 950 ? `${Math.round(time_ms)} ms` : `${(time_ms / 1000).toFixed(1)} s`);

// ---- what people do

byId("transport").addEventListener("submit", (event) => {
  event.preventDefault();
  if (recording) recording.stop();
  else if (!starting) start();
  showRunning();
});
byId("transport").addEventListener("change", showRunning);
byId("play-sample").addEventListener("click", () => {
  byId("transport").elements.source.value = "sample";
  if (!running()) start();
});
byId("problem-again").addEventListener("click", () => {
  hideProblem();
  if (!running()) start();
});
byId("problem-close").addEventListener("click", () => {
  hideProblem();
  (asked ?? byId("start")).focus();
});
byId("apply").addEventListener("click", () => {
  recording.renew(options.manual);
  talk.show(options.manual && recording.source.live);
  byId("pending").hidden = true;
  say("A new session begins with these settings; what was open is finished first.", true);
});
for (const button of document.querySelectorAll("[data-export]")) {
  button.addEventListener("click", () => {
    const ending = button.dataset.export;
    const { type, write } = FORMATS[ending];
    saveFile(`oyez-transcript.${ending}`, type, write(shown.transcript.spoken()));
  });
}
byId("copy").addEventListener("click", (event) => copyText(asText(shown.transcript.spoken()), event.currentTarget));

addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.toggle("dropping", !running());
});
for (const name of ["dragleave", "drop"]) addEventListener(name, () => document.body.classList.remove("dropping"));
addEventListener("drop", (event) => {
  event.preventDefault();
  if (running() || !event.dataTransfer.files.length) return;
  byId("file").files = event.dataTransfer.files;
  byId("transport").elements.source.value = "file";
  start();
});
document.addEventListener("visibilitychange", () => !document.hidden && askServer());

const wide = matchMedia("(min-width: 62rem)");
const fold = () => (byId("settings").open = wide.matches);
wide.addEventListener("change", fold);
fold();

showRunning();
loadConfig()
  .then((loaded) => {
    config = loaded;
    options.offerLanguages(config.languages);
  })
  .catch(() => showProblem("unreachable", {}))
  .finally(askServer);
setInterval(() => !document.hidden && askServer(), READINESS_MS);
