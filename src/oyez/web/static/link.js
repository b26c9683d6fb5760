// The conversation with the server: sends what is on the tape, and reconnects. A
// new connection sends everything again that the old one left unanswered.

import { RATE, toBase64 } from "./pcm.js";

const PACKET = RATE / 10;
const MOST_BUFFERED_BYTES = 256 * 1024; // beyond, the network is behind: wait
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15000;
const FINISH_TIMEOUT_MS = 60000;
const FATAL_STATUS = [400, 401, 403, 404, 426];
const FATAL_CODES = [1007, 1008, 1009];

export class Link {
  /**
   * tape: what to send. io: {open(): WebSocket, why(): Promise of {status, message, retry_s}}.
   * config(): the `session` of a session.update. resumeAt(sent): where unanswered sound begins.
   * on: {event, sent, packet, state, lost, back, missed, failed}.
   */
  constructor({ tape, io, config, resumeAt, on }) {
    Object.assign(this, { tape, io, config, resumeAt, on });
    this.marks = []; // ends of turns by hand: {at, sent}
    this.base = tape.start; // where the sound of this session begins
    this.position = tape.start; // up to where it was sent
    this.failures = 0;
    this.ending = false; // no more will come; the rest is sent, then session.finish
    this.renewing = false;
    this.closed = new Promise((resolve) => (this._resolve = resolve));
  }

  start() {
    this._connect();
    this.timer = setInterval(() => this.pump(), 50);
  }

  /** Send what may be sent now. */
  pump() {
    if (this.idle && this.position < this.tape.end) this._connect();
    if (!this.ready) return;
    this._skipWhatIsGone();
    while (this.socket.bufferedAmount < MOST_BUFFERED_BYTES && this._next());
  }

  /** The turn by hand ends with what is on the tape now. */
  commit() {
    this.marks.push({ at: this.tape.end, sent: false });
    this.pump();
  }

  /** End when everything was sent and answered. */
  finish() {
    this.ending = true;
    if (this.idle || (this.retry && this.position >= this.tape.end && !this.interrupted)) this._end();
    else this.pump();
    return this.closed;
  }

  /** Finish this session; go on with a new one. */
  renew() {
    this.renewing = true;
    this.pump();
  }

  /** End at once, whatever is unanswered. */
  stop() {
    this._end();
  }

  _next() {
    const mark = this.marks.find((each) => !each.sent && each.at <= this.tape.end);
    const to = Math.min(this.position + PACKET, mark ? mark.at : this.tape.end);
    const rest = this.ending || this.renewing || mark;
    if (to - this.position >= PACKET || (rest && to > this.position)) {
      this._append(to);
      return true;
    }
    if (mark) {
      mark.sent = true;
      this._send({ type: "input_audio_buffer.commit" });
      return true;
    }
    if (this.ending || this.renewing) this._finish();
    return false;
  }

  /** A network slower than speech: the tape has forgotten what was not sent yet. */
  _skipWhatIsGone() {
    const missed = this.tape.start - this.position;
    if (missed <= 0) return;
    this.base += missed;
    this.position = this.tape.start;
    this.on.missed(missed);
  }

  _append(to) {
    this._send({ type: "input_audio_buffer.append", audio: toBase64(this.tape.read(this.position, to)) });
    this.position = to;
    this.on.packet(to);
  }

  _finish() {
    if (this.finishing) return;
    this.finishing = true;
    this.ready = false;
    this._send({ type: "session.finish" });
    this.on.state("finishing");
    // a server that never answers must not hold this page for ever
    this.deadline = setTimeout(() => this.socket.close(), FINISH_TIMEOUT_MS);
  }

  _send(event) {
    this.socket.send(JSON.stringify(event));
    this.on.sent(event);
  }

  _connect() {
    clearTimeout(this.retry);
    this.retry = undefined;
    this.idle = this.finishing = this.finished = this.renewing = false;
    this.on.state("connecting");
    const socket = (this.socket = this.io.open());
    let opened = false;
    socket.onopen = () => (opened = true);
    socket.onmessage = ({ data }) => socket === this.socket && this._receive(JSON.parse(data));
    socket.onclose = (close) => socket === this.socket && this._gone(opened, close);
  }

  _receive(event) {
    this.on.event(event, this.base);
    if (event.type === "session.created") {
      this._begin();
    } else if (event.type === "session.updated" && !this.ready && !this.finishing) {
      this.ready = true;
      this.failures = 0;
      this.on.state("open");
      this.pump();
    } else if (event.type === "error" && !this.ready && !this.finishing) {
      this._fail("settings", { message: event.error.message, field: event.error.param });
    } else if (event.type === "session.finished") {
      this.finished = true;
      this.socket.close(1000);
    }
  }

  /** Where this session's sound begins, and what it must hear once more. */
  _begin() {
    const wanted = Math.max(this.resumeAt(this.position), this.tape.start);
    const again = { resumed: this.interrupted, from: wanted, missed: Math.max(0, this.tape.start - this.position) };
    this.base = this.position = wanted;
    for (const mark of this.marks) mark.sent = mark.at <= wanted;
    this.marks = this.marks.filter((mark) => !mark.sent);
    if (this.interrupted) this.on.back(again);
    this.interrupted = false;
    this._send({ type: "session.update", event_id: "event_settings", session: this.config() });
  }

  async _gone(opened, { code, reason }) {
    clearTimeout(this.deadline);
    this.ready = false;
    const expected = this.finishing && this.finished;
    this.finishing = false;
    if (this.over || (expected && this.ending && !this._unsent())) return this._end();
    if (expected) return this._connect();
    if (FATAL_CODES.includes(code)) return this._fail(code, { message: reason });
    if (code === 1000 && this.finished && !this.ending && this.position >= this.tape.end) {
      this.idle = true; // the server ends sessions without sound; a new one begins with the next
      return this.on.state("idle");
    }
    const why = opened ? {} : await this.io.why();
    if (this.over) return undefined;
    if (FATAL_STATUS.includes(why.status)) return this._fail(why.status, why);
    return this._again({ ...why, opened, code });
  }

  _again(why) {
    const pause_ms = Math.max(this.failures ? Math.min(FIRST_PAUSE_MS * 2 ** this.failures, LONGEST_PAUSE_MS) : FIRST_PAUSE_MS, (why.retry_s ?? 0) * 1000);
    this.failures++;
    this.interrupted = true;
    this.on.lost({ ...why, pause_ms, failures: this.failures });
    this.on.state("waiting");
    this.retry = setTimeout(() => this._connect(), pause_ms);
  }

  _unsent() {
    return this.position < this.tape.end || this.marks.some((mark) => !mark.sent);
  }

  _fail(kind, details) {
    this.on.failed(kind, details);
    this._end();
  }

  _end() {
    if (this.over) return;
    this.over = true;
    this.ready = false;
    clearInterval(this.timer);
    clearTimeout(this.retry);
    clearTimeout(this.deadline);
    if (this.socket && this.socket.readyState < 2) this.socket.close();
    this.on.state("over");
    this._resolve();
  }
}
