import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const { Resampler } = await load("resample.js");
const RATES = [8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000];

function tone(hertz, rate, seconds) {
  return Float32Array.from({ length: rate * seconds }, (_, n) => 0.5 * Math.sin((2 * Math.PI * hertz * n) / rate));
}

function whole(rate, input, cut = input.length) {
  const resampler = new Resampler(rate, 16000);
  const pieces = [];
  for (let n = 0; n < input.length; n += cut) pieces.push(...resampler.push(input.subarray(n, n + cut)));
  pieces.push(...resampler.flush());
  return Float32Array.from(pieces);
}

function rms(samples) {
  const inner = samples.subarray(2000, samples.length - 2000);
  return Math.sqrt(inner.reduce((sum, each) => sum + each * each, 0) / inner.length);
}

for (const rate of RATES) {
  test(`${rate} Hz: a tone is the same tone at the same time`, () => {
    const output = whole(rate, tone(1000, rate, 1));
    const wanted = tone(1000, 16000, 1);
    assert.ok(Math.abs(output.length - 16000) <= 2, `${output.length} samples`);
    for (let n = 2000; n < 14000; n++) assert.ok(Math.abs(output[n] - wanted[n]) < 2e-3, `sample ${n}`);
  });

  test(`${rate} Hz: packets change nothing`, () => {
    const input = tone(440, rate, 0.3);
    assert.deepEqual(whole(rate, input, 97), whole(rate, input));
  });
}

for (const [rate, hertz] of [[48000, 9500], [48000, 15000], [44100, 12000], [96000, 30000]]) {
  test(`${rate} Hz: ${hertz} Hz is taken away instead of coming back lower`, () => {
    assert.ok(rms(whole(rate, tone(hertz, rate, 1))) < 0.35 * 1e-3);
  });
}

test("a constant stays what it is", () => {
  const output = whole(44100, new Float32Array(44100).fill(0.25));
  for (let n = 500; n < 15000; n++) assert.ok(Math.abs(output[n] - 0.25) < 1e-5);
});
