// The settings on the page. They are kept in this browser; the key only in this tab.

import { languageChoices } from "./languages.js";
import { sessionConfig } from "./session-config.js";

const STORED = "oyez-settings";
const KEY = "oyez-key";
const HINTS = {
  vad: "The server detects where speech begins and ends.",
  manual: "Hold the button or the space bar while you speak; letting go ends the turn. Nothing else is sent.",
};
const number = (text) => Number(text);

export class Options {
  /** changed(): called when a setting differs from those of the running session. */
  constructor(byId, changed) {
    this.form = byId("options");
    this.byId = byId;
    this._restore();
    this.form.addEventListener("input", () => {
      this._show();
      this._store();
      changed();
    });
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this._show();
  }

  offerLanguages(codes) {
    const select = this.byId("language");
    for (const { code, label } of languageChoices(codes)) select.append(new Option(label, code));
    select.value = this.wantedLanguage ?? "";
    if (select.selectedIndex < 0) select.value = "";
  }

  get key() {
    return this.byId("key").value.trim();
  }

  get manual() {
    return this.form.elements.turns.value === "manual";
  }

  values() {
    return {
      turns: this.form.elements.turns.value,
      threshold: number(this.byId("threshold").value),
      silence_ms: number(this.byId("silence").value),
      language: this.byId("language").value,
      context: this.byId("context").value,
    };
  }

  session() {
    return sessionConfig(this.values());
  }

  /** Two that are equal mean the same session. */
  fingerprint() {
    return JSON.stringify([this.session(), this.key]);
  }

  _show() {
    const { threshold, silence_ms } = this.values();
    this.byId("threshold-value").textContent = threshold.toFixed(2).replace("-", "−");
    const shown = silence_ms < 1000 ? `${silence_ms} ms` : `${(silence_ms / 1000).toFixed(1)} s`;
    this.byId("silence-value").textContent = shown;
    this.byId("silence").setAttribute("aria-valuetext", shown);
    this.byId("vad-fields").hidden = this.manual;
    this.byId("turns-hint").textContent = HINTS[this.form.elements.turns.value];
  }

  _store() {
    try {
      localStorage.setItem(STORED, JSON.stringify(this.values()));
      sessionStorage.setItem(KEY, this.key);
    } catch {
      // they hold until the page is closed
    }
  }

  _restore() {
    let stored = {};
    try {
      stored = JSON.parse(localStorage.getItem(STORED)) ?? {};
      this.byId("key").value = sessionStorage.getItem(KEY) ?? "";
    } catch {
      // nothing kept, or nothing that can be read
    }
    if (stored.turns === "manual") this.form.elements.turns.value = "manual";
    for (const [id, value] of [["threshold", stored.threshold], ["silence", stored.silence_ms], ["context", stored.context]]) {
      if (value !== undefined) this.byId(id).value = value;
    }
    this.wantedLanguage = stored.language;
  }
}
