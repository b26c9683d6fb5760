// Text out of the page: to a file, or to the clipboard.

const TOLD_MS = 1500;

export function saveFile(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  // the browser has taken its copy by then
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

export async function copyText(text, button) {
  const before = button.dataset.label ?? button.textContent;
  button.dataset.label = before;
  button.textContent = (await toClipboard(text)) ? "Copied" : "Not allowed";
  setTimeout(() => (button.textContent = before), TOLD_MS);
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return oldWay(text); // pages over plain http have no clipboard of the new kind
  }
}

function oldWay(text) {
  const focused = document.activeElement;
  const field = Object.assign(document.createElement("textarea"), { value: text, className: "hidden" });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return done;
}
