// One recording from start to stop: a source, what the server made of it, and the link between.

import { Latency } from "./latency.js";
import { Link } from "./link.js";
import { RATE } from "./pcm.js";
import { Transcript } from "./transcript.js";

const ms = (samples) => (samples * 1000) / RATE;

export class Recording {
  /**
   * io, config: as Link takes them. on: {changed(utterance), removed(utterance), grown(samples),
   * event(direction, event), state, lost, back, missed, failed, over}.
   */
  constructor({ io, config, manual, on }) {
    Object.assign(this, { io, config, manual, on });
    this.transcript = new Transcript();
    this.latency = new Latency();
  }

  /** open({grown, ended, wanted}): a source of sources.js. Raises what that raises. */
  async open(open) {
    this.source = await open({
      grown: (samples) => {
        this.on.grown(samples);
        this.link.pump();
      },
      ended: (problem) => {
        if (problem) this.on.failed(problem, {});
        this.stop();
      },
      wanted: () => !this.manual || this.held,
    });
    this.tape = this.source.tape;
    this.link = new Link({ tape: this.tape, io: this.io, config: this.config, resumeAt: (sent) => this._resumeAt(sent), on: this._listener() });
  }

  start() {
    if (this.manual && !this.source.live) this._hold();
    this.link.start();
    this.source.start();
  }

  hold() {
    if (this.manual && this.source.live) this._hold();
  }

  release() {
    if (!this.held) return;
    this.held = false;
    this.transcript.pushEnded(ms(this.tape.end));
    this.link.commit();
  }

  /** The source is closed; what it said is still answered. A second call does not wait for that. */
  stop() {
    if (this.stopping) return this.link.stop();
    this.stopping = true;
    this.source.stop();
    this.release();
    return this.link.finish();
  }

  renew(manual) {
    this.release();
    this.manual = manual;
    if (manual && !this.source.live) this._hold();
    this.link.renew();
  }

  get now_ms() {
    return this.tape ? ms(this.tape.end) : 0;
  }

  _hold() {
    this.held = true;
    this.transcript.pushBegan(ms(this.tape.end));
  }

  _resumeAt(sent) {
    const from_ms = this.transcript.resumeAt_ms(ms(sent), this.manual);
    return Math.round((from_ms * RATE) / 1000);
  }

  _listener() {
    return {
      event: (event, base) => {
        this.on.event("received", event);
        this.latency.event(event, base, performance.now());
        const utterance = this.transcript.apply(event, ms(base), ms(this.link.position));
        if (utterance) this.on.changed(utterance);
      },
      sent: (event) => this.on.event("sent", event),
      packet: (position) => this.latency.packet(position, performance.now()),
      state: (state) => (state === "over" ? this._over() : this.on.state(state)),
      lost: (why) => this.on.lost(why),
      back: ({ from, missed }) => {
        const { removed, cut } = this.transcript.interrupt(ms(from));
        removed.forEach((each) => this.on.removed(each));
        cut.forEach((each) => this.on.changed(each));
        this.on.back({ again_ms: this.now_ms - ms(from), missed_ms: ms(missed) });
      },
      missed: (samples) => this.on.missed(ms(samples)),
      failed: (kind, details) => this.on.failed(kind, details),
    };
  }

  _over() {
    this.source.stop();
    const { cut, removed } = this.transcript.interrupt(this.now_ms + 1);
    removed.forEach((each) => this.on.removed(each));
    cut.forEach((each) => this.on.changed(each));
    this.on.state("over");
  }
}
