// Hold to talk: the button, or the space bar anywhere but where it means something else.

const OWN_SPACE = "input, textarea, select, button, summary, a, [role=toolbar] *";

export class Talk {
  /** began(), ended(): the button went down, or up. */
  constructor(button, { began, ended }) {
    Object.assign(this, { button, began, ended, held: false });
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      try {
        button.setPointerCapture(event.pointerId);
      } catch {
        // the pointer may be gone already
      }
      this.hold(true);
    });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      button.addEventListener(name, () => this.hold(false));
    }
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    // a screen reader cannot hold: its click begins, and the next one ends
    button.addEventListener("click", (event) => event.detail === 0 && !this.byKey && this.hold(!this.held));
    document.addEventListener("keydown", (event) => this._key(event, true));
    document.addEventListener("keyup", (event) => this._key(event, false));
    addEventListener("blur", () => this.hold(false));
    document.addEventListener("visibilitychange", () => document.hidden && this.hold(false));
  }

  show(shown) {
    if (!shown) this.hold(false);
    this.button.hidden = !shown;
  }

  hold(held) {
    if (held === this.held || (held && this.button.hidden)) return;
    this.held = held;
    this.button.setAttribute("aria-pressed", String(held));
    if (held) this.began();
    else this.ended();
  }

  _key(event, down) {
    const onButton = event.target === this.button;
    if (this.button.hidden || !(event.key === " " || (onButton && event.key === "Enter"))) return;
    if (!onButton && event.target.matches?.(OWN_SPACE)) return;
    event.preventDefault(); // no scrolling, no click
    this.byKey = down;
    if (!event.repeat) this.hold(down);
  }
}
