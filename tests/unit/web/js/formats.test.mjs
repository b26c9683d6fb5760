import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const { asJson, asSrt, asText, asVtt, cues, shortTime, stamp } = await load("formats.js");
const one = { start_ms: 1200, end_ms: 3480.6, language: "en", emotion: "happy", transcript: "Hear ye!", status: "final" };
const two = { ...one, start_ms: 3723004, end_ms: 3725000, transcript: "<i>a & b</i>" };

test("times as clocks", () => {
  assert.equal(stamp(3723004, ","), "01:02:03,004");
  assert.equal(stamp(999.6, "."), "00:00:01.000");
  assert.deepEqual([0, 83000, 3723004].map(shortTime), ["0:00", "1:23", "1:02:03"]);
});

test("text is a line for each utterance", () => {
  assert.equal(asText([one, two]), "Hear ye!\n<i>a & b</i>\n");
});

test("SRT", () => {
  assert.equal(
    asSrt([one, two]),
    "1\n00:00:01,200 --> 00:00:03,481\nHear ye!\n\n2\n01:02:03,004 --> 01:02:05,000\n<i>a & b</i>\n",
  );
});

test("WebVTT, with what is markup there written out", () => {
  assert.equal(
    asVtt([one, two]),
    "WEBVTT\n\n00:00:01.200 --> 00:00:03.481\nHear ye!\n\n01:02:03.004 --> 01:02:05.000\n&lt;i&gt;a &amp; b&lt;/i&gt;\n",
  );
});

test("an arrow in the words cannot be taken for a cue", () => {
  assert.ok(!asVtt([{ ...one, transcript: "a --> b" }]).includes("a --> b"));
});

test("JSON has what is known, and says what is incomplete", () => {
  const { utterances } = JSON.parse(asJson([one, { ...two, status: "cut" }]));
  assert.deepEqual(utterances[0], { start_ms: 1200, end_ms: 3481, language: "en", emotion: "happy", transcript: "Hear ye!" });
  assert.equal(utterances[1].incomplete, true);
});

test("long utterances become several subtitles that share their time", () => {
  const transcript = "It was the best of times, it was the worst of times, ".repeat(5).trim();
  const made = cues([{ ...one, start_ms: 1000, end_ms: 21000, transcript }]);
  assert.ok(made.length >= 3);
  assert.equal(made[0].start_ms, 1000);
  assert.equal(made.at(-1).end_ms, 21000);
  made.forEach((cue, n) => {
    assert.ok(cue.lines.length <= 2);
    assert.ok(cue.lines.every((line) => line.length <= 42), cue.lines.join("|"));
    if (n) assert.equal(cue.start_ms, made[n - 1].end_ms);
  });
  assert.equal(made.flatMap((cue) => cue.lines).join(" "), transcript);
});

test("scripts without spaces are split too, and their marks do not begin a line", () => {
  const transcript = "今天天气很好，我们去公园散步吧。".repeat(5);
  const lines = cues([{ ...one, transcript }]).flatMap((cue) => cue.lines);
  assert.equal(lines.join(""), transcript);
  assert.ok(lines.every((line) => line.length <= 22 && !/^[，。]/.test(line)), lines.join("|"));
});

test("a very long word is not lost", () => {
  const transcript = "x".repeat(100);
  assert.equal(cues([{ ...one, transcript }]).flatMap((cue) => cue.lines).join(""), transcript);
});
