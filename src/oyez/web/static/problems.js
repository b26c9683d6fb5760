// What went wrong, in plain words, and what to do about it. Pure.

const here = () => (typeof location === "undefined" ? "this server" : location.host);

const PROBLEMS = {
  insecure: () => ({
    title: "The browser does not give this page a microphone",
    text: `Browsers give a microphone only to pages that come over https, or from this machine itself. Open this server as https://${here()}, or as http://localhost on the machine it runs on. A file and the sample work here as well.`,
  }),
  "no-microphone": () => ({
    title: "No microphone found",
    text: "Plug one in, or choose one in the sound settings of your system, and try again. A file and the sample need none.",
  }),
  denied: () => ({
    title: "The microphone may not be used",
    text: "The browser does not allow this page to use the microphone. Allow the microphone for this page (the symbol beside the address), and try again.",
  }),
  "microphone-busy": () => ({
    title: "The microphone cannot be opened",
    text: "Another program may be using it. Close that program and try again.",
  }),
  "microphone-lost": () => ({
    title: "The microphone is gone",
    text: "It was unplugged or switched off. What was said before appears below. Plug it in and start again.",
  }),
  "no-file": () => ({ title: "No file chosen", text: "Choose an audio or video file, or drop one anywhere on this page." }),
  "file-too-large": ({ most }) => ({
    title: "The file is too large for this page",
    text: `The page accepts at most ${most}, because a browser must unpack the whole file. Cut it, or use the command line.`,
  }),
  undecodable: ({ name }) => ({
    title: "The browser finds no sound in this file",
    text: `${name} could not be decoded. Try WAV, MP3, M4A, Ogg, FLAC or WebM.`,
  }),
  "no-sample": () => ({ title: "The sample could not be loaded", text: "The server did not send it. Try again." }),
  unreachable: () => ({
    title: "The server cannot be reached",
    text: "The server or the network may be down. Try again later.",
  }),
  401: ({ message, hadKey }) => ({
    title: hadKey ? "The server does not accept this API key" : "This server requires an API key",
    text: `${hadKey ? "Check it for a missing character." : "Enter it in the settings of this page. The operator of the server can give you one."}${said(message)}`,
    field: "key",
  }),
  403: ({ message }) => ({
    title: "The server does not accept connections from this page",
    text: `Open the page at the address of the server itself, or ask its operator to allow ${here()}.${said(message)}`,
  }),
  429: ({ message }) => ({ title: "This key has reached a limit", text: `Wait a little, or end another session.${said(message)}` }),
  503: ({ message }) => ({ title: "The server has no room at the moment", text: `Open sessions are not affected. Try again in a moment.${said(message)}` }),
  refused: ({ status, message }) => ({ title: `The server refused (HTTP ${status})`, text: `A proxy between this page and the server may block WebSockets.${said(message)}` }),
  settings: ({ message, field }) => ({
    title: "The server did not accept these settings",
    text: [field, message].filter(Boolean).join(": "),
  }),
  1007: ({ message }) => ({ title: "The server did not understand this page", text: `Reload it: page and server may have different versions.${said(message)}` }),
  1008: ({ message }) => ({ title: "The server ended the session", text: message || "It gave no reason." }),
  1009: () => ({ title: "The server ended the session", text: "A message was larger than the server accepts." }),
};

/** kind: a name above, an HTTP status or a close code. Returns {title, text, field?}. */
export function problem(kind, details = {}) {
  const known = PROBLEMS[kind];
  return known ? known(details) : { title: "Something went wrong", text: details.message || String(kind) };
}

function said(message) {
  return message ? ` The server says: ${message}` : "";
}
