// A transcript as a file. Pure.

const LINE = 42; // columns a subtitle line holds; East Asian characters take two
const LINES = 2;

export const FORMATS = {
  txt: { type: "text/plain", write: asText },
  srt: { type: "application/x-subrip", write: asSrt },
  vtt: { type: "text/vtt", write: asVtt },
  json: { type: "application/json", write: asJson },
};

export function asText(utterances) {
  return utterances.map((each) => each.transcript + "\n").join("");
}

export function asSrt(utterances) {
  const blocks = cues(utterances).map(
    (cue, n) => `${n + 1}\n${stamp(cue.start_ms, ",")} --> ${stamp(cue.end_ms, ",")}\n${cue.lines.join("\n")}\n`,
  );
  return blocks.join("\n");
}

export function asVtt(utterances) {
  const blocks = cues(utterances).map(
    (cue) => `\n${stamp(cue.start_ms, ".")} --> ${stamp(cue.end_ms, ".")}\n${cue.lines.map(escapeVtt).join("\n")}\n`,
  );
  return "WEBVTT\n" + blocks.join("");
}

export function asJson(utterances) {
  const plain = utterances.map(({ start_ms, end_ms, language, emotion, transcript, status }) => ({
    start_ms: Math.round(start_ms), end_ms: Math.round(end_ms), language, emotion, transcript,
    ...(status === "cut" && { incomplete: true }),
  }));
  return JSON.stringify({ utterances: plain }, null, 2) + "\n";
}

/**
 * Subtitles of at most two lines. The server tells when an utterance begins and ends; where one is
 * too long for a subtitle, its time is shared out by length, which is an estimate.
 */
export function cues(utterances) {
  return utterances.flatMap((each) => {
    const lines = wrap(each.transcript.replace(/\s+/g, " "));
    const pages = [];
    for (let n = 0; n < lines.length; n += LINES) pages.push(lines.slice(n, n + LINES));
    const widths = pages.map((page) => page.reduce((sum, line) => sum + width(line), 0));
    const whole = widths.reduce((sum, each) => sum + each, 0) || 1;
    const duration_ms = Math.max(1, each.end_ms - each.start_ms);
    let before = 0;
    return pages.map((lines, n) => {
      const start_ms = each.start_ms + (duration_ms * before) / whole;
      before += widths[n];
      return { start_ms, end_ms: each.start_ms + (duration_ms * before) / whole, lines };
    });
  });
}

/** 3723004 as `01:02:03,004`. */
export function stamp(time_ms, point) {
  const rounded = Math.round(time_ms);
  const parts = [rounded / 3600000, (rounded / 60000) % 60, (rounded / 1000) % 60];
  const clock = parts.map((part) => String(Math.floor(part)).padStart(2, "0")).join(":");
  return clock + point + String(rounded % 1000).padStart(3, "0");
}

/** 83000 as `1:23`. */
export function shortTime(time_ms) {
  const whole = Math.floor(time_ms / 1000);
  const [hours, minutes, seconds] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = String(seconds).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

function wrap(text) {
  const lines = [];
  let line = "";
  for (const piece of pieces(text)) {
    if (line && width((line + piece).trimEnd()) > LINE) {
      lines.push(line.trimEnd());
      line = "";
    }
    line += piece;
  }
  return line.trim() ? [...lines, line.trim()] : lines;
}

/** Where a line may break: behind spaces, and behind any character of a script without them. */
function pieces(text) {
  return text.match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}][\p{M}\p{P}]*\s*|[^\s\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]+\s*|\s+/gu) ?? [];
}

function width(text) {
  let columns = 0;
  for (const character of text) columns += /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60]/.test(character) ? 2 : 1;
  return columns;
}

function escapeVtt(line) {
  return line.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
