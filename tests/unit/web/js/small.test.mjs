import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const { AUDIO, EventLog, asLines } = await load("event-log.js");
const { Latency, median } = await load("latency.js");
const { languageChoices, languageName } = await load("languages.js");
const { problem } = await load("problems.js");
const { sessionConfig } = await load("session-config.js");

const at = new Date(0);
const values = { turns: "vad", threshold: 0.35, silence_ms: 1200, language: "", context: "  " };

test("settings as the session they mean", () => {
  const session = sessionConfig(values);
  assert.deepEqual(session.turn_detection, { type: "server_vad", threshold: 0.35, silence_duration_ms: 1200 });
  assert.deepEqual(session.input_audio_transcription, {});
  const other = sessionConfig({ ...values, turns: "manual", language: "sv", context: "Åsa" });
  assert.equal(other.turn_detection, null);
  assert.deepEqual(other.input_audio_transcription, { language: "sv", corpus: { text: "Åsa" } });
});

test("events are kept without their audio, and not for ever; audio goes first", () => {
  const log = new EventLog(3);
  const types = () => log.entries.map(({ event }) => event.type);
  log.add("sent", { type: "session.update" }, at);
  log.add("sent", { type: AUDIO, audio: Buffer.alloc(3200).toString("base64") }, at);
  assert.equal(log.entries[1].event.audio, "(3200 bytes)");
  log.add("received", { type: "session.updated" }, at);
  log.add("received", { type: "error" }, at);
  assert.deepEqual(types(), ["session.update", "session.updated", "error"]);
  log.add("received", { type: "session.finished" }, at);
  assert.deepEqual(types(), ["session.updated", "error", "session.finished"]);
  assert.equal(log.dropped, 2);
});

test("events by direction and type; audio only if asked for", () => {
  const log = new EventLog();
  log.add("sent", { type: AUDIO, audio: "" }, at);
  log.add("sent", { type: "session.finish" }, at);
  log.add("received", { type: "session.finished" }, at);
  const types = (filter) => log.select(filter).map(({ event }) => event.type);
  assert.deepEqual(types({}), ["session.finish", "session.finished"]);
  assert.deepEqual(types({ audio: true, direction: "sent" }), [AUDIO, "session.finish"]);
  assert.deepEqual(types({ type: AUDIO }), [AUDIO]);
  assert.deepEqual(asLines(log.select({ direction: "received" })).trim().split("\n").map(JSON.parse), [
    { at: "1970-01-01T00:00:00.000Z", direction: "received", event: { type: "session.finished" } },
  ]);
});

test("latency from when the sound was sent", () => {
  const latency = new Latency();
  const event = (type, more, now_ms) => latency.event({ type: `x.${type}`, item_id: "a", ...more }, 16000, now_ms);
  for (let n = 1; n <= 60; n++) latency.packet(n * 1600, n * 100);
  // the session began at 1 s, speech 0.5 s later (0.3 s of padding before it)
  event("speech_started", { audio_start_ms: 200 }, 1900);
  event("text", { text: "", stash: "" }, 1950);
  event("text", { text: "", stash: "I" }, 2100);
  event("text", { text: "I", stash: " say" }, 2600);
  event("speech_stopped", { audio_end_ms: 3000 }, 4050);
  event("text", { text: "I say", stash: "" }, 4100);
  event("completed", { transcript: "I say" }, 4200);
  assert.deepEqual([latency.first, latency.interim, latency.final], [[600], [500], [200]]);
  assert.equal(latency.turns.size, 0);
});

test("the median", () => {
  assert.deepEqual([median([]), median([3]), median([9, 1, 5]), median([4, 1, 2, 3])], [undefined, 3, 5, 2.5]);
});

test("languages by name", () => {
  assert.equal(languageName("yue"), "Cantonese");
  assert.equal(languageName(""), "");
  const choices = languageChoices(["sv", "de", "en"]);
  assert.deepEqual(choices.map(({ code }) => code), ["en", "de", "sv"]);
  assert.match(choices[1].label, /^German · Deutsch$/);
});

test("every problem is told in a title and a text; the unknown too", () => {
  for (const kind of ["insecure", "denied", "no-microphone", 401, 403, 429, 503, 1008, "no such thing"]) {
    const { title, text } = problem(kind, { message: "why" });
    assert.ok(title && text && !/undefined|\[object/.test(title + text), String(kind));
  }
  assert.notEqual(problem(401, { hadKey: true }).title, problem(401, {}).title);
  assert.match(problem(429, { message: "Daily audio is used up." }).text, /Daily audio is used up/);
});
