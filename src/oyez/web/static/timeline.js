// All utterances in time, as a row of buttons with one tab stop: arrow keys move within it.

import { shortTime } from "./formats.js";
import { languageName } from "./languages.js";

const LEAST_MS = 20000;
const MOST_MS = 600000;

export class Timeline {
  /** chosen(utterance): somebody wants to see it. */
  constructor(element, chosen) {
    this.element = element;
    this.blocks = new Map();
    this.chosen = chosen;
    element.addEventListener("keydown", (event) => this._move(event));
  }

  clear() {
    this.element.replaceChildren();
    this.blocks.clear();
  }

  remove(utterance) {
    this.blocks.get(utterance)?.remove();
    this.blocks.delete(utterance);
  }

  show(utterance) {
    const block = this.blocks.get(utterance) ?? this._add(utterance);
    const language = languageName(utterance.language);
    const open = utterance.status === "speaking" || utterance.status === "deciding";
    block.dataset.status = open ? "open" : utterance.status;
    block.textContent = [language, utterance.emotion].filter((each) => each && each !== "neutral").join(" · ") || "…";
    const end = utterance.end_ms === null ? "now" : shortTime(utterance.end_ms);
    const label = [`${shortTime(utterance.start_ms)} to ${end}`, language, language && utterance.emotion].filter(Boolean);
    block.setAttribute("aria-label", label.join(", "));
    block.title = label.join(", ");
  }

  /** Lay out what there is up to now. */
  place(now_ms) {
    const span_ms = Math.min(Math.max(now_ms, LEAST_MS), MOST_MS);
    const from_ms = Math.max(0, now_ms - span_ms);
    for (const [utterance, block] of this.blocks) {
      const end_ms = utterance.end_ms ?? now_ms;
      if (end_ms < from_ms) {
        this.remove(utterance);
        continue;
      }
      const start = Math.max(0, utterance.start_ms - from_ms);
      block.style.left = `${(100 * start) / span_ms}%`;
      block.style.width = `${Math.max(0.3, (100 * (end_ms - from_ms - start)) / span_ms)}%`;
    }
    this._oneTabStop();
  }

  _add(utterance) {
    const block = document.createElement("button");
    block.type = "button";
    block.tabIndex = -1;
    block.addEventListener("click", () => this.chosen(utterance));
    this.element.append(block);
    this.blocks.set(utterance, block);
    return block;
  }

  _oneTabStop() {
    const blocks = [...this.element.children];
    if (blocks.length && !blocks.some((each) => each.tabIndex === 0)) blocks[0].tabIndex = 0;
  }

  _move(event) {
    const blocks = [...this.element.children];
    const here = blocks.indexOf(event.target);
    const there = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: blocks.length - 1 }[event.key];
    const next = blocks[there];
    if (!next) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}
