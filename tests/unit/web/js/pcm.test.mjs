import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const { keyProtocol, mixDown, toBase64, toInt16 } = await load("pcm.js");
const { Tape } = await load("tape.js");
const { Levels, height, BIN_SAMPLES } = await load("waveform.js");

test("samples are scaled, and clipped where they are too loud", () => {
  assert.deepEqual([...toInt16([0, 0.5, -0.5, 1, -1, 3, -3])], [0, 16384, -16383, 32767, -32767, 32767, -32767]);
});

test("base64 is little-endian", () => {
  assert.equal(toBase64(Int16Array.of(1, -2, 258)), Buffer.from([1, 0, 254, 255, 2, 1]).toString("base64"));
});

test("long audio is encoded too", () => {
  const samples = Int16Array.from({ length: 50000 }, (_, n) => n % 1000);
  const bytes = Buffer.from(toBase64(samples), "base64");
  assert.equal(bytes.length, 100000);
  assert.equal(bytes.readInt16LE(2 * 49999), 999);
});

test("a key is a subprotocol: base64url without padding", () => {
  assert.equal(keyProtocol("sk-1"), "oyez-key.c2stMQ");
  assert.equal(keyProtocol("~~~???"), "oyez-key." + Buffer.from("~~~???").toString("base64url"));
});

test("channels are averaged", () => {
  const channels = [[1, 0], [0, 0.5]].map((each) => Float32Array.from(each));
  const buffer = { length: 2, numberOfChannels: 2, getChannelData: (n) => channels[n] };
  assert.deepEqual([...mixDown(buffer)], [0.5, 0.25]);
});

test("a tape keeps the newest, by position", () => {
  const tape = new Tape(5);
  tape.append(Int16Array.of(0, 1, 2));
  tape.append(Int16Array.of(3, 4, 5, 6));
  assert.deepEqual([tape.start, tape.end], [2, 7]);
  assert.deepEqual([...tape.read(0, 99)], [2, 3, 4, 5, 6]);
  assert.deepEqual([...tape.read(4, 6)], [4, 5]);
  assert.deepEqual([...tape.read(9, 12)], []);
});

test("a tape takes more than it holds at once", () => {
  const tape = new Tape(3);
  tape.append(Int16Array.of(9));
  tape.append(Int16Array.from({ length: 10 }, (_, n) => n));
  assert.deepEqual([tape.start, tape.end], [8, 11]);
  assert.deepEqual([...tape.read(0, 99)], [7, 8, 9]);
});

test("levels are the peaks of 20 ms", () => {
  const levels = new Levels();
  const samples = new Int16Array(BIN_SAMPLES * 2.5);
  samples[3] = -16384;
  levels.push(samples.subarray(0, 100));
  levels.push(samples.subarray(100));
  assert.equal(levels.count, 2);
  assert.deepEqual([levels.at(0), levels.at(1), levels.at(2), levels.at(-1)], [0.5, 0, 0, 0]);
  assert.ok(height(0) > 0 && height(0) < height(0.1) && height(0.1) < height(1) && height(1) === 1);
});
