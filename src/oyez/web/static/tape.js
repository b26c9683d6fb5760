// The newest samples of a recording, by their position since its beginning. Pure.

export class Tape {
  /** Holds `capacity` samples; what is older is gone. */
  constructor(capacity) {
    this.samples = new Int16Array(capacity);
    this.start = 0; // the oldest position it still has
    this.end = 0; // one past the newest
  }

  append(samples) {
    const capacity = this.samples.length;
    const tail = samples.subarray(Math.max(0, samples.length - capacity));
    let at = (this.end + samples.length - tail.length) % capacity;
    const first = tail.subarray(0, capacity - at);
    this.samples.set(first, at);
    this.samples.set(tail.subarray(first.length), 0);
    this.end += samples.length;
    this.start = Math.max(this.start, this.end - capacity);
  }

  /** A copy of the samples from `from` up to `to`, both kept within what there is. */
  read(from, to) {
    const begin = Math.min(Math.max(from, this.start), this.end);
    const copy = new Int16Array(Math.max(0, Math.min(to, this.end) - begin));
    for (let n = 0; n < copy.length; n++) {
      copy[n] = this.samples[(begin + n) % this.samples.length];
    }
    return copy;
  }
}
