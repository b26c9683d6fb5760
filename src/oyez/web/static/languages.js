// Languages by their names, in English and in themselves.

const english = new Intl.DisplayNames(["en"], { type: "language" });

export function languageName(code) {
  if (!code) return "";
  try {
    return english.of(code);
  } catch {
    return code; // not one that the browser can name
  }
}

/** Codes as [{code, label}], by name: `German · Deutsch`. */
export function languageChoices(codes) {
  return codes
    .map((code) => ({ code, label: both(code) }))
    .sort((a, b) => a.label.localeCompare(b.label, "en"));
}

function both(code) {
  const name = languageName(code);
  try {
    const own = new Intl.DisplayNames([code], { type: "language" }).of(code);
    return own && own.toLowerCase() !== name.toLowerCase() ? `${name} · ${own}` : name;
  } catch {
    return name;
  }
}
