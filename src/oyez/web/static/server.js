// What this page asks of the server over HTTP, and how it opens a session.

import { keyProtocol } from "./pcm.js";

const TIMEOUT_MS = 5000;
const at = (path) => new URL(path, document.baseURI);

export async function loadConfig() {
  const answer = await fetch(at("page/config.json"));
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  return answer.json();
}

/** {state: "ready" | "busy" | "leaving" | "gone", room} */
export async function readiness() {
  try {
    const answer = await ask("readyz");
    const { status, room } = await answer.json();
    if (!answer.ok) return { state: status === "draining" ? "leaving" : "busy", room: 0 };
    return { state: room > 0 ? "ready" : "busy", room };
  } catch {
    return { state: "gone" };
  }
}

function realtime(model) {
  const url = at("api-ws/v1/realtime");
  url.searchParams.set("model", model);
  return url;
}

/** A browser can set no header here, and a URL is no place for a key: it goes as a subprotocol. */
export function openSocket(model, key) {
  const url = realtime(model);
  url.protocol = url.protocol.replace("http", "ws");
  return key ? new WebSocket(url, ["oyez", keyProtocol(key)]) : new WebSocket(url);
}

/**
 * Why a socket did not open, which a browser does not tell: the same address over plain HTTP is
 * refused for the same reason. {status, message, retry_s}; no status: no answer.
 */
export async function whyNot(model, key) {
  try {
    const answer = await ask(realtime(model), key ? { Authorization: `Bearer ${key}` } : {});
    if (answer.status === 426) return { message: "" }; // it would be let in now
    const body = await answer.json().catch(() => ({}));
    return {
      status: answer.status,
      message: body.message ?? "",
      retry_s: Number(answer.headers.get("Retry-After")) || 0,
      hadKey: Boolean(key),
    };
  } catch {
    return { unreachable: true };
  }
}

function ask(path, headers = {}) {
  return fetch(at(path), { headers, cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
}
