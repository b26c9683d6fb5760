// How long the server takes, as a person at this page meets it: network and browser included. Pure.

import { RATE } from "./pcm.js";

const KEPT = 200; // the newest of each figure
const SENT_KEPT_MS = 60000;
export const PADDING_MS = 300; // how much earlier than speech a turn begins, by default

export class Latency {
  constructor() {
    this.first = [];
    this.interim = [];
    this.final = [];
    this.sent = []; // {position, now_ms} of each packet, oldest first
    this.turns = new Map(); // item id: {began_ms, ended_ms, shown_ms}
  }

  /** Sound up to this sample was sent now. */
  packet(position, now_ms) {
    this.sent.push({ position, now_ms });
    while (this.sent[0].now_ms < now_ms - SENT_KEPT_MS) this.sent.shift();
  }

  /** A server event came now; base: the sample at which its session begins. */
  event(event, base, now_ms) {
    const kind = event.type.split(".").pop();
    const turn = this.turns.get(event.item_id) ?? {};
    if (kind === "speech_started") {
      turn.began_ms = this._sentAt(base, event.audio_start_ms + PADDING_MS);
    } else if (kind === "speech_stopped") {
      turn.ended_ms = this._sentAt(base, event.audio_end_ms);
    } else if (kind === "committed") {
      turn.ended_ms ??= now_ms;
    } else if (kind === "text" && event.text + event.stash) {
      if (turn.shown_ms !== undefined && turn.ended_ms === undefined) keep(this.interim, now_ms - turn.shown_ms);
      if (turn.shown_ms === undefined && turn.began_ms !== undefined) keep(this.first, now_ms - turn.began_ms);
      turn.shown_ms = now_ms;
    } else if (kind === "completed" && turn.ended_ms !== undefined) {
      keep(this.final, now_ms - turn.ended_ms);
    }
    if (kind === "completed" || kind === "failed") this.turns.delete(event.item_id);
    else if (event.item_id) this.turns.set(event.item_id, turn);
  }

  /** When the packet with this moment of sound was sent; undefined where that is long ago. */
  _sentAt(base, audio_ms) {
    const position = base + (audio_ms * RATE) / 1000;
    return this.sent.find((packet) => packet.position >= position)?.now_ms;
  }
}

function keep(figures, value) {
  figures.push(Math.max(0, value));
  if (figures.length > KEPT) figures.shift();
}

export function median(figures) {
  if (!figures.length) return undefined;
  const sorted = [...figures].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
