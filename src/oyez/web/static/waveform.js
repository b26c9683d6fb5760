// The sound of the last seconds, and where in it the server detected speech.

import { RATE } from "./pcm.js";

export const BIN_SAMPLES = RATE / 50;
const KEPT_BINS = 50 * 120;
const BIN_PX = 2;
const LEAST_PEAK = 0.1; // the loudest in view fills the height, but noise does not

/** The loudest sample of every 20 ms, 0…1, for the newest two minutes. Pure. */
export class Levels {
  constructor() {
    this.bins = new Float32Array(KEPT_BINS);
    this.count = 0; // bins that are complete
    this.peak = 0;
    this.filled = 0;
  }

  push(samples) {
    for (const sample of samples) {
      this.peak = Math.max(this.peak, Math.abs(sample) / 32768);
      if (++this.filled < BIN_SAMPLES) continue;
      this.bins[this.count++ % KEPT_BINS] = this.peak;
      this.peak = this.filled = 0;
    }
  }

  peakSince(first) {
    let peak = 0;
    for (let bin = first; bin < this.count; bin++) peak = Math.max(peak, this.at(bin));
    return peak;
  }

  at(bin) {
    return bin < 0 || bin >= this.count || bin < this.count - KEPT_BINS ? 0 : this.bins[bin % KEPT_BINS];
  }
}

/** How tall a level is drawn, 0…1: soft speech is seen, and silence is a thin line. */
export function height(level) {
  return Math.max(0.02, Math.min(1, level ** 0.7));
}

export class Waveform {
  constructor(canvas, transcript) {
    this.canvas = canvas;
    this.transcript = transcript;
    this.levels = new Levels();
    this.colours();
    new ResizeObserver(() => this.draw()).observe(canvas);
    document.addEventListener("theme", () => this.colours());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.colours());
  }

  colours() {
    const style = getComputedStyle(this.canvas);
    const named = (name) => style.getPropertyValue(name);
    this.colour = { wave: named("--wave"), voice: named("--voice"), fill: named("--voice-fill"), line: named("--line") };
    this.draw();
  }

  reset(transcript) {
    this.levels = new Levels();
    this.transcript = transcript;
    this.draw();
  }

  push(samples) {
    this.levels.push(samples);
    this.asked ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.asked = undefined;
    const { canvas, levels } = this;
    const scale = devicePixelRatio || 1;
    const wide = canvas.clientWidth, tall = canvas.clientHeight;
    canvas.width = Math.round(wide * scale);
    canvas.height = Math.round(tall * scale);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const shown = Math.floor(wide / BIN_PX);
    const first = Math.max(0, levels.count - shown);
    const xOf = (time_ms) => (time_ms / 20 - first) * BIN_PX;
    const now_ms = levels.count * 20;
    const turns = this._turns(first * 20, now_ms);
    for (const turn of turns) this._speech(pen, xOf(turn.from), xOf(turn.to), tall, turn.open);
    this._ticks(pen, first * 20, first * 20 + shown * 20, xOf, tall);
    const gain = 1 / Math.max(LEAST_PEAK, levels.peakSince(first));
    for (let n = 0; n < shown; n++) {
      const time_ms = (first + n) * 20;
      const inSpeech = turns.some((turn) => time_ms >= turn.from && time_ms < turn.to);
      const half = (height(gain * levels.at(first + n)) * (tall - 22)) / 2;
      pen.fillStyle = inSpeech ? this.colour.voice : this.colour.wave;
      pen.fillRect(n * BIN_PX, tall / 2 - half, BIN_PX * 0.65, half * 2);
    }
  }

  _turns(from_ms, now_ms) {
    const all = this.transcript?.utterances ?? [];
    const turns = [];
    for (let n = all.length - 1; n >= 0 && (all[n].end_ms ?? now_ms) >= from_ms; n--) {
      turns.push({ from: all[n].start_ms, to: all[n].end_ms ?? now_ms, open: all[n].end_ms === null });
    }
    return turns;
  }

  /** A band and, above it, a bracket; open at the right as long as speech goes on. */
  _speech(pen, from, to, tall, open) {
    pen.fillStyle = this.colour.fill;
    pen.fillRect(from, 0, to - from, tall);
    pen.strokeStyle = this.colour.voice;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.moveTo(from + 1, 7);
    pen.lineTo(from + 1, 1);
    pen.lineTo(to - 1, 1);
    if (!open) pen.lineTo(to - 1, 7);
    pen.stroke();
  }

  _ticks(pen, from_ms, to_ms, xOf, tall) {
    pen.fillStyle = this.colour.line;
    for (let at = Math.ceil(from_ms / 1000) * 1000; at <= to_ms; at += 1000) {
      const long = at % 5000 === 0;
      pen.fillRect(xOf(at), tall - (long ? 8 : 4), 1, long ? 8 : 4);
    }
  }
}
