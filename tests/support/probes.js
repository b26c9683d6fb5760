// What tests ask of the page; loaded before anything of its own.

window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});

window.probes = {
  /** How many points of the waveform have the colour of speech, the bracket above it left out. */
  voicePixels() {
    const canvas = document.getElementById("waveform");
    const voice = channels(getComputedStyle(canvas).getPropertyValue("--voice"));
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let found = 0;
    const bracket = 4 * canvas.width * Math.ceil(10 * devicePixelRatio);
    for (let n = bracket; n < data.length; n += 4) {
      if (voice.every((part, channel) => data[n + channel] === Math.round(part * 255))) found++;
    }
    return found;
  },

  /** [text, contrast with what is behind it] of all text that can be seen and used. */
  contrasts() {
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
      const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
      const unused = "[aria-hidden=true], :disabled, option, .hidden, label:has(input:disabled)";
      if (!own || !element.checkVisibility() || element.closest(unused)) continue;
      const back = behind(element);
      const front = over(channels(getComputedStyle(element).color), back);
      const [high, low] = [light(front), light(back)].sort((a, b) => b - a);
      found.push([element.textContent.trim().slice(0, 30), (high + 0.05) / (low + 0.05)]);
    }
    return found;
  },

  /** [name, whether it is outlined] of what has the focus. */
  focused() {
    const element = document.activeElement;
    const shown = element.matches(".segments input") ? element.nextElementSibling : element;
    const style = getComputedStyle(shown);
    const name = element.closest("#timeline") ? "(timeline)" : element.id;
    const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    return [name || element.name || element.textContent.trim(), outlined];
  },

  /** The right edge of what reaches furthest. */
  rightmost() {
    const seen = [...document.querySelectorAll("main *, #drawer *, header *")].filter(
      (element) => element.checkVisibility() && !element.closest(".hidden, .timeline"),
    );
    return Math.max(...seen.map((element) => element.getBoundingClientRect().right));
  },
};

function channels(colour) {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const pen = canvas.getContext("2d");
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 1, 1);
  return [...pen.getImageData(0, 0, 1, 1).data].map((part) => part / 255);
}

function over(top, under) {
  return [0, 1, 2].map((n) => top[n] * top[3] + under[n] * (1 - top[3])).concat(1);
}

function behind(element) {
  const own = channels(getComputedStyle(element).backgroundColor);
  if (own[3] === 1) return own;
  return over(own, element.parentElement ? behind(element.parentElement) : [1, 1, 1, 1]);
}

/** Relative luminance, as WCAG defines it. */
function light(colour) {
  return [0.2126, 0.7152, 0.0722].reduce((sum, weight, n) => {
    const part = colour[n];
    return sum + weight * (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  }, 0);
}
