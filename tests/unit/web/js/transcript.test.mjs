import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const { MOST_UTTERANCES, Transcript } = await load("transcript.js");
const audio = (kind, item_id, more = {}) => ({ type: `input_audio_buffer.${kind}`, item_id, ...more });
const words = (kind, item_id, more = {}) => ({
  type: `conversation.item.input_audio_transcription.${kind}`, item_id, language: "de", emotion: "sad", ...more,
});
const spoken = (transcript, id, from, to, base = 0) => {
  transcript.apply(audio("speech_started", id, { audio_start_ms: from }), base);
  transcript.apply(audio("speech_stopped", id, { audio_end_ms: to }), base);
  transcript.apply(audio("committed", id), base);
  return transcript.apply(words("completed", id, { transcript: ` said ${id}` }), base);
};

test("a turn from its beginning to its final", () => {
  const transcript = new Transcript();
  const turn = transcript.apply(audio("speech_started", "a", { audio_start_ms: 500 }), 10000);
  assert.deepEqual([turn.start_ms, turn.end_ms, turn.status], [10500, null, "speaking"]);
  transcript.apply(words("text", "a", { text: "Guten", stash: " Tag" }));
  assert.deepEqual([turn.text, turn.stash, turn.language, turn.emotion], ["Guten", " Tag", "de", "sad"]);
  transcript.apply(audio("speech_stopped", "a", { audio_end_ms: 1900 }), 10000);
  assert.deepEqual([turn.end_ms, turn.status], [11900, "deciding"]);
  transcript.apply(audio("committed", "a"), 10000, 99999);
  assert.equal(turn.end_ms, 11900);
  assert.equal(transcript.apply(words("completed", "a", { transcript: " Guten Tag. " })), turn);
  assert.deepEqual([turn.transcript, turn.stash, turn.status], ["Guten Tag.", "", "final"]);
  assert.deepEqual(transcript.spoken(), [turn]);
});

test("one that fails says why and is in no file", () => {
  const transcript = new Transcript();
  transcript.apply(audio("speech_started", "a", { audio_start_ms: 0 }));
  const turn = transcript.apply(words("failed", "a", { error: { message: "too busy" } }));
  assert.deepEqual([turn.status, turn.error], ["failed", "too busy"]);
  assert.deepEqual(transcript.spoken(), []);
});

test("other events concern nobody", () => {
  const transcript = new Transcript();
  for (const type of ["session.created", "error", "session.finished", "conversation.item.created"]) {
    assert.equal(transcript.apply({ type, item: { id: "a" } }), undefined);
  }
  assert.equal(transcript.utterances.length, 0);
});

test("by hand, an item belongs to the push it came from", () => {
  const transcript = new Transcript();
  transcript.pushBegan(0);
  transcript.pushEnded(1000);
  transcript.pushBegan(1000);
  const first = transcript.apply(words("text", "a", { text: "", stash: "one" }), 0, 1200);
  assert.deepEqual([first.start_ms, first.end_ms], [0, null]);
  const committed = transcript.apply(audio("committed", "a"), 0, 1300);
  assert.deepEqual([committed, committed.end_ms], [first, 1000]);
  const second = transcript.apply(words("text", "b", { text: "", stash: "two" }), 0, 1500);
  transcript.pushEnded(2000);
  transcript.apply(audio("committed", "b"), 0, 2100);
  assert.deepEqual([second.start_ms, second.end_ms], [1000, 2000]);
});

test("by hand, a turn that the server ends goes on as another one", () => {
  const transcript = new Transcript();
  transcript.pushBegan(0);
  assert.equal(transcript.apply(audio("committed", "a"), 0, 60000).end_ms, 60000);
  transcript.pushEnded(61000);
  const rest = transcript.apply(audio("committed", "b"), 0, 61000);
  assert.deepEqual([rest.start_ms, rest.end_ms], [60000, 61000]);
});

test("a new session hears again what was not answered", () => {
  const transcript = new Transcript();
  assert.equal(transcript.resumeAt_ms(0), 0);
  assert.equal(transcript.resumeAt_ms(1500), 0);
  assert.equal(transcript.resumeAt_ms(9000), 7000);
  spoken(transcript, "a", 1000, 8500);
  assert.equal(transcript.resumeAt_ms(9000), 8500);
  transcript.apply(audio("speech_started", "b", { audio_start_ms: 8700 }));
  transcript.apply(audio("speech_started", "c", { audio_start_ms: 12000 }));
  assert.equal(transcript.resumeAt_ms(15000), 8700);
});

test("by hand nothing is heard twice", () => {
  const transcript = new Transcript();
  assert.equal(transcript.resumeAt_ms(9000, true), 9000);
  transcript.pushBegan(4000);
  assert.equal(transcript.resumeAt_ms(9000, true), 4000);
});

test("what is heard again is taken away, what is too long ago keeps its words", () => {
  const transcript = new Transcript();
  const done = spoken(transcript, "z", 0, 900);
  const long = transcript.apply(audio("speech_started", "a", { audio_start_ms: 1000 }));
  transcript.apply(words("text", "a", { text: "so", stash: " far" }));
  const fresh = transcript.apply(audio("speech_started", "b", { audio_start_ms: 5000 }));
  transcript.apply(words("text", "b", { text: "", stash: "again" }));
  const { removed, cut } = transcript.interrupt(3000);
  assert.deepEqual([removed, cut], [[fresh], [long]]);
  assert.deepEqual([long.transcript, long.end_ms, long.status], ["so far", 3000, "cut"]);
  assert.deepEqual(transcript.utterances, [done, long]);
  assert.equal(spoken(transcript, "b", 0, 100, 3000).start_ms, 3000);
});

test("pushes of a lost session wait for new items, in order", () => {
  const transcript = new Transcript();
  transcript.pushBegan(0);
  transcript.apply(words("text", "old", { text: "", stash: "" }), 0, 500);
  transcript.pushEnded(1000);
  transcript.pushBegan(1000);
  transcript.interrupt(0);
  assert.deepEqual(transcript.pushes, [{ from_ms: 0, to_ms: 1000 }, { from_ms: 1000, to_ms: null }]);
  assert.equal(transcript.apply(audio("committed", "new"), 0, 2000).end_ms, 1000);
  transcript.pushEnded(2500);
  assert.equal(transcript.apply(audio("committed", "next"), 0, 2500).start_ms, 1000);
});

test("it does not grow for ever", () => {
  const transcript = new Transcript();
  for (let n = 0; n <= MOST_UTTERANCES; n++) spoken(transcript, `i${n}`, n, n + 1);
  assert.equal(transcript.utterances.length, MOST_UTTERANCES);
  assert.equal(transcript.byId.size, MOST_UTTERANCES);
  assert.equal(transcript.forgotten, 1);
});
