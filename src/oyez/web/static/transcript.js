// What was said so far, from the server's events. Pure: times are milliseconds of sound since the
// recording began; a new session on the same recording tells its own beginning as `base_ms`.

export const MOST_UTTERANCES = 10000;
const LOOK_BACK_MS = 2000; // speech whose beginning the server may have detected but not yet reported

export class Transcript {
  constructor() {
    this.utterances = []; // in the order of their beginnings
    this.byId = new Map();
    this.pushes = []; // turns by hand without an item: {from_ms, to_ms or null}
    this.forgotten = 0;
  }

  /** Take in a server event; the utterance it concerns, if any. */
  apply(event, base_ms = 0, now_ms = 0) {
    const kind = event.type.split(".").pop();
    if (kind === "speech_started") return this._begin(event.item_id, base_ms + event.audio_start_ms);
    if (kind === "speech_stopped") {
      const stopped = this.byId.get(event.item_id);
      if (stopped) Object.assign(stopped, { end_ms: base_ms + event.audio_end_ms, status: "deciding" });
      return stopped;
    }
    if (kind === "committed") return this._commit(event.item_id, now_ms);
    if (!event.type.startsWith("conversation.item.input_audio_transcription.")) return undefined;
    return this._recognised(kind, event, now_ms);
  }

  pushBegan(from_ms) {
    this.pushes.push({ from_ms, to_ms: null });
  }

  pushEnded(to_ms) {
    const open = [...this.pushes, ...this.utterances].findLast((each) => each.from_ms !== undefined && each.to_ms === null);
    if (open) open.to_ms = to_ms;
  }

  /** From where a new session must hear the recording again, so that nothing said is lost. */
  resumeAt_ms(sent_ms, manual = false) {
    const open = this.open().map((each) => each.start_ms);
    const waiting = [...open, ...this.pushes.map((each) => each.from_ms)];
    if (waiting.length) return Math.min(...waiting);
    if (manual) return sent_ms;
    const done_ms = Math.max(0, ...this.utterances.slice(-1).map((each) => each.end_ms ?? 0));
    return Math.max(done_ms, sent_ms - LOOK_BACK_MS, 0);
  }

  open() {
    return this.utterances.filter((each) => each.status === "speaking" || each.status === "deciding");
  }

  /**
   * The session is gone: its open utterances are sent again from `resume_ms` on. One that began
   * earlier keeps the words that were shown. Returns {removed, cut}.
   */
  interrupt(resume_ms) {
    const removed = [], cut = [];
    for (const each of this.open()) {
      const pieces = (each.text + each.stash).trim();
      if (each.start_ms >= resume_ms || !pieces) removed.push(each);
      else cut.push(Object.assign(each, { status: "cut", end_ms: resume_ms, transcript: pieces, stash: "" }));
      this.byId.delete(each.id);
    }
    this.utterances = this.utterances.filter((each) => !removed.includes(each));
    for (const each of removed) if (each.from_ms !== undefined) this.pushes.push(each);
    this.pushes = this.pushes.map(({ from_ms, to_ms }) => ({ from_ms, to_ms })).sort((a, b) => a.from_ms - b.from_ms);
    return { removed, cut };
  }

  /** Those with words, for files. */
  spoken() {
    return this.utterances.filter((each) => each.transcript);
  }

  _begin(id, start_ms, push) {
    const known = this.byId.get(id);
    if (known) return known;
    const utterance = {
      id, start_ms, end_ms: null, status: "speaking",
      language: "", emotion: "neutral", text: "", stash: "", transcript: "",
      ...(push && { from_ms: push.from_ms, to_ms: push.to_ms }),
    };
    this.utterances.push(utterance);
    this.byId.set(id, utterance);
    if (this.utterances.length > MOST_UTTERANCES) {
      this.byId.delete(this.utterances.shift().id);
      this.forgotten++;
    }
    return utterance;
  }

  _byHand(id, now_ms) {
    const push = this.pushes.shift() ?? { from_ms: now_ms, to_ms: now_ms };
    return this._begin(id, push.from_ms, push);
  }

  _commit(id, now_ms) {
    const utterance = this.byId.get(id) ?? this._byHand(id, now_ms);
    if (utterance.status !== "speaking") return utterance;
    if (utterance.from_ms !== undefined && utterance.to_ms === null) {
      // by the server, which ends very long turns: the button is still held
      this.pushes.unshift({ from_ms: now_ms, to_ms: null });
      utterance.to_ms = now_ms;
    }
    return Object.assign(utterance, { status: "deciding", end_ms: utterance.to_ms ?? utterance.end_ms ?? now_ms });
  }

  _recognised(kind, event, now_ms) {
    const utterance = this.byId.get(event.item_id) ?? this._byHand(event.item_id, now_ms);
    const { language, emotion } = { ...utterance, ...event };
    if (kind === "text") {
      return Object.assign(utterance, { language, emotion, text: event.text, stash: event.stash });
    }
    const end_ms = utterance.end_ms ?? now_ms;
    if (kind === "failed") {
      const error = event.error?.message ?? "no reason given";
      return Object.assign(utterance, { status: "failed", error, end_ms, stash: "" });
    }
    const transcript = event.transcript.trim();
    return Object.assign(utterance, { language, emotion, transcript, end_ms, status: "final", stash: "" });
  }
}
