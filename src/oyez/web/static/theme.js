// A classic script in the head, so that the page is never shown in the wrong colours first.
(() => {
  const NAMES = { auto: "Auto", light: "Light", dark: "Dark" };
  const ORDER = ["auto", "light", "dark"];
  const root = document.documentElement;

  function stored() {
    try {
      const name = localStorage.getItem("oyez-theme");
      return ORDER.includes(name) ? name : "auto";
    } catch {
      return "auto"; // storage may be forbidden
    }
  }

  function show(name) {
    if (name === "auto") delete root.dataset.theme;
    else root.dataset.theme = name;
    const button = document.getElementById("theme");
    if (button) {
      (button.lastElementChild ?? button).textContent = NAMES[name];
      button.setAttribute("aria-label", `Colours: ${NAMES[name]}. Change`);
    }
    document.dispatchEvent(new Event("theme"));
  }

  let current = stored();
  show(current);
  addEventListener("DOMContentLoaded", () => {
    show(current);
    document.getElementById("theme")?.addEventListener("click", () => {
      current = ORDER[(ORDER.indexOf(current) + 1) % ORDER.length];
      try {
        localStorage.setItem("oyez-theme", current);
      } catch {
        // it holds until the page is closed
      }
      show(current);
    });
  });
})();
