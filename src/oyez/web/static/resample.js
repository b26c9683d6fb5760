// From any sample rate to another, piece by piece: a polyphase filter whose low-pass is a windowed
// sinc, so that nothing above half the lower rate comes back as something else. Pure.

const ZERO_CROSSINGS = 24; // on each side: more is steeper, and later
const ROLL_OFF = 0.92; // where the pass band ends, as a share of half the lower rate
const KAISER_BETA = 9; // stop band below -90 dB

export class Resampler {
  constructor(rateIn, rateOut) {
    const shared = gcd(rateIn, rateOut);
    this.up = rateOut / shared;
    this.down = rateIn / shared;
    const cutoff = ROLL_OFF * Math.min(1, rateOut / rateIn);
    this.half = Math.ceil(ZERO_CROSSINGS / cutoff);
    this.filters = Array.from({ length: this.up }, (_, phase) =>
      filter(phase / this.up, this.half, cutoff),
    );
    this.kept = new Float32Array(this.half); // as if silence came before
    this.phase = 0; // of the next output, in parts of an input sample
  }

  /** The samples that are complete so far; the last few need the samples that follow. */
  push(samples) {
    if (this.up === this.down) return samples;
    const input = new Float32Array(this.kept.length + samples.length);
    input.set(this.kept);
    input.set(samples, this.kept.length);
    const output = [];
    let at = this.half;
    for (; at + this.half < input.length; ) {
      const taps = this.filters[this.phase];
      let sum = 0;
      for (let n = 0, first = at - this.half; n < taps.length; n++) sum += taps[n] * input[first + n];
      output.push(sum);
      this.phase += this.down;
      at += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    // `at` may lie beyond what there is: when much more comes in than goes out
    this.kept = input.slice(Math.min(at - this.half, input.length));
    return Float32Array.from(output);
  }

  /** What still waited, as if silence followed. */
  flush() {
    return this.up === this.down ? new Float32Array(0) : this.push(new Float32Array(this.half + 1));
  }
}

function filter(fraction, half, cutoff) {
  const taps = new Float32Array(2 * half + 1);
  let sum = 0;
  for (let n = 0; n < taps.length; n++) {
    const distance = n - half - fraction;
    taps[n] = sinc(distance * cutoff) * kaiser(distance / (half + 1));
    sum += taps[n];
  }
  return taps.map((tap) => tap / sum); // a constant stays what it is
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

function kaiser(x) {
  return Math.abs(x) > 1 ? 0 : bessel(KAISER_BETA * Math.sqrt(1 - x * x)) / bessel(KAISER_BETA);
}

function bessel(x) {
  let sum = 1;
  for (let n = 1, term = 1; n < 40; n++) {
    term *= (x / (2 * n)) ** 2;
    sum += term;
  }
  return sum;
}

function gcd(a, b) {
  return b ? gcd(b, a % b) : a;
}
