import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./load.mjs";

const { Link } = await load("link.js");
const { Tape } = await load("tape.js");
const PACKET = 1600;

class Socket {
  constructor() {
    Object.assign(this, { readyState: 1, bufferedAmount: 0, sent: [] });
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.readyState = 3;
  }
  say(type, more = {}) {
    this.onmessage({ data: JSON.stringify({ type, ...more }) });
  }
  welcome() {
    this.onopen();
    this.say("session.created");
    this.say("session.updated");
  }
  async gone(code, reason = "") {
    this.readyState = 3;
    await this.onclose({ code, reason });
  }
  get types() {
    return this.sent.map(({ type }) => type.split(".").pop());
  }
  get samples() {
    const bytes = this.sent.filter(({ audio }) => audio).map(({ audio }) => Buffer.from(audio, "base64").length);
    return bytes.reduce((sum, each) => sum + each, 0) / 2;
  }
}

function made(t, { seconds = 60, resumeAt = (sent) => sent, why = {} } = {}) {
  t.mock.timers.enable();
  const told = [];
  const sockets = [];
  const on = Object.fromEntries(
    ["event", "sent", "packet", "state", "lost", "back", "missed", "failed"].map((name) => [name, (...what) => told.push([name, ...what])]),
  );
  const io = { open: () => (sockets.push(new Socket()), sockets.at(-1)), why: async () => why };
  const tape = new Tape(seconds * 16000);
  const link = new Link({ tape, io, config: () => ({ a: 1 }), resumeAt, on });
  link.start();
  const of = (name) => told.filter(([other]) => other === name).map(([, ...what]) => what);
  return { link, tape, sockets, of, speak: (samples) => (tape.append(new Int16Array(samples)), link.pump()), tick: (time_ms) => t.mock.timers.tick(time_ms) };
}

test("settings first; sound once they are taken, in packets of 100 ms", (t) => {
  const { sockets, speak } = made(t);
  speak(PACKET * 2 + 100);
  const [socket] = sockets;
  assert.deepEqual(socket.types, []);
  socket.onopen();
  socket.say("session.created");
  assert.deepEqual(socket.sent[0].session, { a: 1 });
  assert.deepEqual(socket.types, ["update"]);
  socket.say("session.updated");
  assert.deepEqual(socket.types, ["update", "append", "append"]);
  assert.equal(socket.samples, PACKET * 2);
});

test("a slow network is waited for", (t) => {
  const { sockets, speak, tick } = made(t);
  sockets[0].welcome();
  sockets[0].bufferedAmount = 1 << 20;
  speak(PACKET * 5);
  assert.equal(sockets[0].samples, 0);
  sockets[0].bufferedAmount = 0;
  tick(60);
  assert.equal(sockets[0].samples, PACKET * 5);
});

test("what the tape forgot meanwhile is told, and times stay right", (t) => {
  const { sockets, speak, of, link } = made(t, { seconds: 1 });
  sockets[0].welcome();
  sockets[0].bufferedAmount = 1 << 20;
  speak(40000);
  sockets[0].bufferedAmount = 0;
  link.pump();
  assert.deepEqual(of("missed"), [[24000]]);
  assert.equal(link.base, 24000);
  assert.equal(sockets[0].samples, 16000);
});

test("finishing sends the rest, asks, and waits for the answer", async (t) => {
  const { sockets, speak, link, of } = made(t);
  sockets[0].welcome();
  speak(PACKET + 5);
  const closed = link.finish();
  assert.equal(sockets[0].samples, PACKET + 5);
  assert.equal(sockets[0].types.at(-1), "finish");
  sockets[0].say("session.finished");
  await sockets[0].gone(1000);
  await closed;
  assert.deepEqual(of("state").at(-1), ["over"]);
  assert.equal(sockets.length, 1);
});

test("a turn by hand ends exactly where it was let go", (t) => {
  const { sockets, speak, link } = made(t);
  sockets[0].welcome();
  speak(PACKET + 7);
  link.commit();
  speak(PACKET);
  assert.deepEqual(sockets[0].types, ["update", "append", "append", "commit", "append"]);
  assert.equal(Buffer.from(sockets[0].sent[2].audio, "base64").length, 14);
});

test("a lost connection is opened again, after growing pauses", async (t) => {
  const { sockets, of, tick } = made(t, { why: { unreachable: true } });
  for (let n = 1; n <= 7; n++) {
    await sockets.at(-1).gone(1006);
    tick(of("lost").at(-1)[0].pause_ms - 1);
    assert.equal(sockets.length, n);
    tick(1);
    assert.equal(sockets.length, n + 1);
  }
  assert.deepEqual(of("lost").map(([why]) => why.pause_ms), [500, 1000, 2000, 4000, 8000, 15000, 15000]);
  sockets.at(-1).welcome();
  await sockets.at(-1).gone(1006);
  assert.equal(of("lost").at(-1)[0].pause_ms, 500);
});

test("it waits as long as the server asks", async (t) => {
  const { sockets, of } = made(t, { why: { status: 503, retry_s: 5 } });
  await sockets[0].gone(1006);
  assert.equal(of("lost")[0][0].pause_ms, 5000);
});

test("a new session hears again what was not answered, and what was said meanwhile", async (t) => {
  const { sockets, speak, tick, of, link } = made(t, { resumeAt: () => 8000 });
  link.resumeAt = () => 0;
  sockets[0].welcome();
  speak(PACKET * 10);
  link.resumeAt = () => 8000;
  await sockets[0].gone(1006);
  speak(PACKET * 5);
  tick(500);
  sockets[1].welcome();
  assert.deepEqual(of("back"), [[{ resumed: true, from: 8000, missed: 0 }]]);
  assert.equal(link.base, 8000);
  assert.equal(sockets[1].samples, PACKET * 15 - 8000);
});

test("of a gap longer than the tape the rest is sent, and the missing told", async (t) => {
  const { sockets, speak, tick, of } = made(t, { seconds: 1 });
  sockets[0].welcome();
  speak(16000);
  await sockets[0].gone(1006);
  speak(40000);
  tick(500);
  sockets[1].welcome();
  assert.deepEqual(of("back")[0][0], { resumed: true, from: 40000, missed: 24000 });
  assert.equal(sockets[1].samples, 16000);
});

test("turns by hand that were not answered are ended again", async (t) => {
  const { sockets, speak, tick, link } = made(t, { resumeAt: () => PACKET });
  link.resumeAt = () => 0;
  sockets[0].welcome();
  speak(PACKET);
  link.commit();
  speak(PACKET);
  link.commit();
  link.resumeAt = () => PACKET;
  await sockets[0].gone(1001);
  tick(500);
  sockets[1].welcome();
  assert.deepEqual(sockets[1].types, ["update", "append", "commit"]);
});

for (const code of [1007, 1008, 1009]) {
  test(`after ${code} it does not try again`, async (t) => {
    const { sockets, of, tick } = made(t);
    sockets[0].welcome();
    await sockets[0].gone(code, "because");
    tick(60000);
    assert.equal(sockets.length, 1);
    assert.deepEqual(of("failed"), [[code, { message: "because" }]]);
    assert.deepEqual(of("state").at(-1), ["over"]);
  });
}

for (const status of [401, 403]) {
  test(`refused with ${status} it does not try again`, async (t) => {
    const { sockets, of, tick } = made(t, { why: { status } });
    await sockets[0].gone(1006);
    tick(60000);
    assert.equal(sockets.length, 1);
    assert.equal(of("failed")[0][0], status);
  });
}

test("settings that are refused end it", (t) => {
  const { sockets, of } = made(t);
  sockets[0].onopen();
  sockets[0].say("session.created");
  sockets[0].say("error", { error: { message: "no", param: "x.y" } });
  assert.deepEqual(of("failed"), [["settings", { message: "no", field: "x.y" }]]);
});

test("an error later does not", (t) => {
  const { sockets, of, speak } = made(t);
  sockets[0].welcome();
  sockets[0].say("error", { error: { message: "no" } });
  speak(PACKET);
  assert.deepEqual(of("failed"), []);
  assert.equal(sockets[0].samples, PACKET);
});

test("other settings: this session is finished, the next goes on where it ended", async (t) => {
  const { sockets, speak, link } = made(t);
  sockets[0].welcome();
  speak(PACKET + 3);
  link.renew();
  assert.deepEqual(sockets[0].types, ["update", "append", "append", "finish"]);
  speak(PACKET);
  sockets[0].say("session.finished");
  await sockets[0].gone(1000);
  sockets[1].welcome();
  assert.equal(link.base, PACKET + 3);
  assert.equal(sockets[1].samples, PACKET);
});

test("a session ended for want of sound is followed by one when there is sound", async (t) => {
  const { sockets, speak, tick, of } = made(t);
  sockets[0].welcome();
  speak(PACKET);
  sockets[0].say("session.finished");
  await sockets[0].gone(1000);
  tick(60000);
  assert.equal(sockets.length, 1);
  assert.deepEqual(of("state").at(-1), ["idle"]);
  speak(PACKET);
  assert.equal(sockets.length, 2);
});

test("stopping while the connection is lost sends the rest once it is back", async (t) => {
  const { sockets, speak, link, tick } = made(t);
  sockets[0].welcome();
  speak(PACKET);
  await sockets[0].gone(1006);
  speak(PACKET);
  const closed = link.finish();
  tick(500);
  sockets[1].welcome();
  assert.deepEqual(sockets[1].types, ["update", "append", "finish"]);
  sockets[1].say("session.finished");
  await sockets[1].gone(1000);
  await closed;
});

test("a server that never answers does not hold it for ever", async (t) => {
  const { sockets, link, tick } = made(t);
  sockets[0].welcome();
  const closed = link.finish();
  tick(60000);
  assert.equal(sockets[0].readyState, 3);
  link.stop();
  await closed;
});
