// The transcript on the page: confirmed words stand firm, tentative ones are set apart.

import { shortTime } from "./formats.js";
import { languageName } from "./languages.js";

const MOST_SHOWN = 300;
const NEAR_END_PX = 80;

export class Captions {
  /** pane: what scrolls. list: the <ol>. latest: the button back to the end. said: the live region. */
  constructor({ pane, list, latest, said }) {
    Object.assign(this, { pane, list, latest, said });
    this.rows = new Map();
    this.following = true;
    pane.addEventListener("scroll", () => this._follow(this._isNearEnd()), { passive: true });
    latest.addEventListener("click", () => {
      this._follow(true);
      this._toEnd();
      pane.focus({ preventScroll: true });
    });
    new ResizeObserver(() => this.following && this._toEnd()).observe(pane);
  }

  clear() {
    this.list.replaceChildren();
    this.said.replaceChildren();
    this.rows.clear();
    this._follow(true);
  }

  show(utterance) {
    const row = this.rows.get(utterance) ?? this._add(utterance);
    row.element.dataset.status = utterance.status === "speaking" || utterance.status === "deciding" ? "open" : utterance.status;
    row.time.textContent = shortTime(utterance.start_ms);
    row.language.textContent = languageName(utterance.language);
    row.emotion.textContent = utterance.language ? utterance.emotion : "";
    row.emotion.dataset.emotion = utterance.emotion;
    if (utterance.language) row.words.lang = utterance.language;
    this._words(row, utterance);
    if (this.following) this._toEnd();
    else this.latest.hidden = false;
  }

  remove(utterance) {
    this.rows.get(utterance)?.element.remove();
    this.rows.delete(utterance);
  }

  /** Bring one into view and mark it for a moment. */
  reveal(utterance) {
    const row = this.rows.get(utterance);
    if (!row) return;
    this._follow(false);
    row.element.scrollIntoView({ block: "center" });
    row.element.classList.add("shown");
    setTimeout(() => row.element.classList.remove("shown"), 1600);
  }

  _add(utterance) {
    const part = (tag, name) => Object.assign(document.createElement(tag), { className: name });
    const element = part("li", "utterance"), meta = part("div", "meta"), words = part("p", "words");
    const row = {
      element, words, time: part("time", "time"), language: part("span", "language"),
      emotion: part("span", "emotion"), firm: part("span", "firm"), gap: document.createTextNode(""), stash: part("span", "stash"), text: "",
    };
    words.dir = "auto";
    meta.append(row.time, row.language, row.emotion);
    words.append(row.firm, row.gap, row.stash);
    element.append(meta, words);
    this.list.append(element);
    this.rows.set(utterance, row);
    if (this.rows.size > MOST_SHOWN) this.remove(this.rows.keys().next().value);
    return row;
  }

  _words(row, utterance) {
    const { status } = utterance;
    const over = status === "final" || status === "failed" || status === "cut";
    row.words.classList.toggle("failed", status === "failed");
    row.words.classList.toggle("none", status === "final" && !utterance.transcript);
    this._firm(row, over ? shownText(utterance) : utterance.text);
    const stash = utterance.stash || (utterance.text ? "" : "…");
    row.gap.data = over || !/^\s/.test(stash) ? "" : " "; // not underlined
    row.stash.textContent = over ? "" : stash.trimStart();
    if (over && !row.isAnnounced) {
      row.isAnnounced = true;
      this._tell(utterance);
    }
  }

  /** Words that were there stay the same nodes, so that they neither flicker nor lose a selection. */
  _firm(row, text) {
    if (text === row.text) return;
    if (!text.startsWith(row.text)) row.firm.replaceChildren();
    const more = document.createElement("span");
    more.textContent = text.startsWith(row.text) ? text.slice(row.text.length) : text;
    if (text.startsWith(row.text)) more.className = "fresh";
    row.firm.append(more);
    row.text = text;
  }

  _tell(utterance) {
    const line = document.createElement("span");
    line.textContent = shownText(utterance) + " ";
    if (utterance.language) line.lang = utterance.language;
    this.said.append(line);
    while (this.said.childElementCount > 5) this.said.firstElementChild.remove();
  }

  _isNearEnd() {
    return this.pane.scrollHeight - this.pane.scrollTop - this.pane.clientHeight < NEAR_END_PX;
  }

  _follow(following) {
    this.following = following;
    if (following) this.latest.hidden = true;
  }

  _toEnd() {
    this.pane.scrollTop = this.pane.scrollHeight;
  }
}

function shownText(utterance) {
  if (utterance.status === "failed") return `This utterance could not be recognised: ${utterance.error}`;
  if (utterance.status === "cut") return `${utterance.transcript} …`;
  return utterance.transcript || "(no words)";
}
