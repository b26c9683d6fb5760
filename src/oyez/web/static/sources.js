// Where sound comes from. Each source fills a tape of 16 kHz samples and tells when it has grown;
// each raises an Error whose message is a name in problems.js.

import { RATE, mixDown, toInt16 } from "./pcm.js";
import { Resampler } from "./resample.js";
import { Tape } from "./tape.js";

export const KEPT_S = 30; // of a microphone, for a connection that is lost
const MOST_FILE_BYTES = 200 * 1024 * 1024;
const TICK_MS = 50;

export class SourceError extends Error {
  constructor(kind, details = {}) {
    super(kind);
    this.details = details;
  }
}

/** grown(samples): new samples are on the tape. ended(problem?): no more will come. */
export async function openMicrophone({ grown, ended, wanted = () => true }) {
  const stream = await askForMicrophone();
  const context = new AudioContext();
  try {
    await context.audioWorklet.addModule(new URL("capture-worklet.js", import.meta.url));
    await context.resume();
  } catch (error) {
    stream.getTracks().forEach((track) => track.stop());
    throw new SourceError("microphone-busy", { message: String(error) });
  }
  const tape = new Tape(KEPT_S * RATE);
  const capture = new AudioWorkletNode(context, "capture");
  const resampler = new Resampler(context.sampleRate, RATE);
  capture.port.onmessage = ({ data }) => {
    const samples = toInt16(resampler.push(data));
    if (!wanted() || !samples.length) return;
    tape.append(samples);
    grown(samples);
  };
  // a node that leads nowhere may be left out by the browser; this one is silent
  context.createMediaStreamSource(stream).connect(capture).connect(context.destination);
  stream.getAudioTracks()[0].onended = () => ended("microphone-lost");
  const stop = () => {
    capture.port.onmessage = null;
    stream.getTracks().forEach((track) => track.stop());
    if (context.state !== "closed") context.close();
  };
  return { tape, live: true, start() {}, stop };
}

async function askForMicrophone() {
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) throw new SourceError("insecure");
  const audio = { channelCount: { ideal: 1 }, echoCancellation: false, noiseSuppression: false, autoGainControl: true };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    const kinds = { NotAllowedError: "denied", SecurityError: "denied", NotFoundError: "no-microphone", OverconstrainedError: "no-microphone" };
    throw new SourceError(kinds[error.name] ?? "microphone-busy", { message: String(error) });
  }
}

/** blob: a file of any kind that the browser can decode. */
export async function openRecording(blob, { pace, aloud, grown, ended, name }) {
  if (blob.size > MOST_FILE_BYTES) throw new SourceError("file-too-large", { most: `${MOST_FILE_BYTES >> 20} MB` });
  const buffer = await decode(blob, name);
  const samples = toInt16(mixDown(buffer));
  const tape = new Tape(Math.max(1, samples.length));
  let timer, player;
  const add = (to) => {
    const more = samples.subarray(tape.end, to);
    tape.append(more);
    grown(more);
    if (tape.end === samples.length) stop(), ended();
  };
  const stop = () => {
    clearInterval(timer);
    player?.close();
    player = undefined;
  };
  const start = () => {
    if (pace === "fast") return add(samples.length);
    if (aloud) player = play(buffer);
    const began_ms = performance.now();
    timer = setInterval(() => add(Math.floor(((performance.now() - began_ms) * RATE) / 1000)), TICK_MS);
    return undefined;
  };
  return { tape, live: false, start, stop };
}

async function decode(blob, name) {
  try {
    // a context of this rate resamples what it decodes
    return await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await blob.arrayBuffer());
  } catch (error) {
    throw new SourceError("undecodable", { name, message: String(error) });
  }
}

function play(buffer) {
  const context = new AudioContext();
  const node = new AudioBufferSourceNode(context, { buffer });
  node.connect(context.destination);
  node.start();
  return context;
}

export async function openSample(options) {
  const answer = await fetch(new URL("two_cities.wav", import.meta.url)).catch(() => undefined);
  if (!answer?.ok) throw new SourceError("no-sample");
  return openRecording(await answer.blob(), { ...options, name: "The sample" });
}
