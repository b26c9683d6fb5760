// The newest events of both directions, without their audio. Pure.

export const MOST_EVENTS = 2000;
export const AUDIO = "input_audio_buffer.append";

export class EventLog {
  constructor(most = MOST_EVENTS) {
    this.most = most;
    this.clear();
  }

  clear() {
    this.entries = [];
    this.types = new Set();
    this.dropped = 0;
  }

  /** Keep an event; at: a Date. Returns what was kept. */
  add(direction, event, at) {
    const entry = { at: at.toISOString(), direction, event: elide(event) };
    this.entries.push(entry);
    this.types.add(event.type);
    if (this.entries.length > this.most) {
      // audio first: it comes ten times a second and tells least
      const audio = this.entries.findIndex((each) => each.event.type === AUDIO);
      this.entries.splice(Math.max(0, audio), 1);
      this.dropped++;
    }
    return entry;
  }

  select(filter) {
    return this.entries.filter((entry) => matches(entry, filter));
  }
}

/** filter: {direction, type, audio}; empty means any, and no audio unless asked for. */
export function matches({ direction, event }, filter) {
  if (filter.direction && direction !== filter.direction) return false;
  if (filter.type) return event.type === filter.type;
  return filter.audio || event.type !== AUDIO;
}

/** One JSON object a line. */
export function asLines(entries) {
  return entries.map((entry) => JSON.stringify(entry) + "\n").join("");
}

function elide(event) {
  if (typeof event.audio !== "string") return event;
  const bytes = Math.floor((event.audio.replace(/=+$/, "").length * 3) / 4);
  return { ...event, audio: `(${bytes} bytes)` };
}
