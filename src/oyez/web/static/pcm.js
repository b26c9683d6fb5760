// Samples and their form on the wire. Pure.

export const RATE = 16000;

/** Samples of -1…1 as 16 bit integers; what is louder is clipped. */
export function toInt16(floats) {
  const samples = new Int16Array(floats.length);
  for (let n = 0; n < floats.length; n++) {
    samples[n] = Math.round(Math.max(-1, Math.min(1, floats[n])) * 32767);
  }
  return samples;
}

/** All channels of an AudioBuffer as one. */
export function mixDown(buffer) {
  const mixed = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel);
    for (let n = 0; n < mixed.length; n++) mixed[n] += samples[n] / buffer.numberOfChannels;
  }
  return mixed;
}

/** Base64 of little-endian PCM16, whatever the machine's own byte order. */
export function toBase64(samples) {
  const view = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((sample, n) => view.setInt16(n * 2, sample, true));
  return bytesToBase64(new Uint8Array(view.buffer));
}

export function bytesToBase64(bytes) {
  let binary = "";
  for (let n = 0; n < bytes.length; n += 0x2000) {
    binary += String.fromCharCode(...bytes.subarray(n, n + 0x2000));
  }
  return btoa(binary);
}

/** An API key as a WebSocket subprotocol, the only header a browser lets a page set. */
export function keyProtocol(key) {
  const encoded = bytesToBase64(new TextEncoder().encode(key));
  return "oyez-key." + encoded.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
