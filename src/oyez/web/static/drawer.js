// The raw events of both directions, in a drawer at the foot of the page.

import { asLines, EventLog, matches } from "./event-log.js";
import { saveFile, copyText } from "./files.js";

const MOST_SHOWN = 200;

export class Drawer {
  constructor(byId) {
    this.log = new EventLog();
    this.paused = false;
    this.element = byId("drawer");
    this.list = byId("log");
    this.types = byId("log-type");
    this.fields = { direction: byId("log-direction"), type: this.types, audio: byId("log-audio") };
    this.count = byId("log-count");
    this.toggle = byId("drawer-toggle");
    this.pauseButton = byId("log-pause");
    this.toggle.addEventListener("click", () => this.open(this.element.hidden));
    byId("drawer-close").addEventListener("click", () => this.open(false));
    this.element.addEventListener("keydown", (event) => event.key === "Escape" && this.open(false));
    this.pauseButton.addEventListener("click", () => this._pause(!this.paused));
    byId("log-clear").addEventListener("click", () => this.clear());
    byId("log-save").addEventListener("click", () => saveFile("oyez-events.jsonl", "application/jsonl", this._text()));
    byId("log-copy").addEventListener("click", (event) => copyText(this._text(), event.currentTarget));
    for (const field of Object.values(this.fields)) field.addEventListener("change", () => this._render());
  }

  add(direction, event) {
    const newType = !this.log.types.has(event.type);
    const entry = this.log.add(direction, event, new Date());
    if (newType) this._addType(event.type);
    if (this.element.hidden || this.paused) return;
    if (matches(entry, this._filter())) this._append([entry]);
    this._countUp();
  }

  open(opened) {
    this.element.hidden = !opened;
    this.toggle.setAttribute("aria-expanded", String(opened));
    if (opened) {
      this._render();
      this.element.scrollIntoView({ block: "nearest" });
      this.fields.direction.focus({ preventScroll: true });
    } else {
      this.toggle.focus();
    }
  }

  clear() {
    this.log.clear();
    this.types.replaceChildren(this.types.options[0]);
    this._render();
  }

  _filter() {
    return { direction: this.fields.direction.value, type: this.types.value, audio: this.fields.audio.checked };
  }

  _text() {
    return asLines(this.log.select(this._filter()));
  }

  _pause(paused) {
    this.paused = paused;
    this.pauseButton.setAttribute("aria-pressed", String(paused));
    this.pauseButton.textContent = paused ? "Go on" : "Pause";
    if (!paused) this._render();
  }

  _render() {
    if (this.paused) return;
    this.list.replaceChildren();
    this._append(this.log.select(this._filter()).slice(-MOST_SHOWN));
    this._countUp();
  }

  _append(entries) {
    const end = this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40;
    this.list.append(...entries.map(row));
    while (this.list.childElementCount > MOST_SHOWN) this.list.firstElementChild.remove();
    if (end) this.list.scrollTop = this.list.scrollHeight;
  }

  _countUp() {
    const { entries, dropped } = this.log;
    this.count.textContent = `${entries.length} kept${dropped ? `, ${dropped} older ones dropped` : ""}`;
  }

  _addType(type) {
    const options = [...this.types.options];
    const before = options.find((option, n) => n > 0 && option.value > type) ?? null;
    this.types.insertBefore(new Option(type, type), before);
  }
}

function row({ at, direction, event }) {
  const part = (name, text) => Object.assign(document.createElement("span"), { className: name, textContent: text });
  const line = document.createElement("li");
  const way = part("way", direction === "sent" ? "→" : "←");
  way.setAttribute("aria-label", direction);
  way.setAttribute("role", "img");
  line.append(part("at", at.slice(11, 23)), way, part("json", JSON.stringify(event)));
  return line;
}
