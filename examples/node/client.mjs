// Transcribe a file over a plain WebSocket (npm install; node client.mjs ../../speech.wav).
// Prints each event as a line of JSON, and END-OK once the session has ended.

import fs from 'node:fs';
import { parseArgs } from 'node:util';
import WebSocket from 'ws';

const { values: flags, positionals: [file] } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: 'string', default: 'ws://127.0.0.1:8080/api-ws/v1/realtime' },
    'api-key': { type: 'string', default: process.env.DASHSCOPE_API_KEY || 'any' },
    language: { type: 'string' }, // left out: detected
    manual: { type: 'boolean', default: false }, // commit once instead of using VAD
  },
});
if (!file) {
  console.error('usage: node client.mjs [--url URL] [--api-key KEY] [--language en] [--manual] FILE');
  process.exit(2);
}

const CHUNK_BYTES = 3200; // a tenth of a second of 16 kHz mono 16-bit sound
const ws = new WebSocket(`${flags.url}?model=qwen3-asr-flash-realtime`, {
  headers: { Authorization: `Bearer ${flags['api-key']}`, 'OpenAI-Beta': 'realtime=v1' },
});
const send = (event) => ws.send(JSON.stringify(event));

ws.on('open', () => {
  const vad = { type: 'server_vad', threshold: 0.0, silence_duration_ms: 400 };
  send({
    event_id: 'event_123',
    type: 'session.update',
    session: {
      modalities: ['text'],
      input_audio_format: 'pcm',
      sample_rate: 16000,
      input_audio_transcription: flags.language ? { language: flags.language } : {},
      turn_detection: flags.manual ? null : vad,
    },
  });
  setTimeout(sendAudio, 3000, readPcm(), 0); // long enough for the session to be configured
});

function readPcm() {
  const bytes = fs.readFileSync(file);
  return file.endsWith('.wav') ? bytes.subarray(bytes.indexOf('data') + 8) : bytes;
}

function sendAudio(pcm, offset) {
  if (ws.readyState !== WebSocket.OPEN) return;
  if (offset < pcm.length) {
    const audio = pcm.subarray(offset, offset + CHUNK_BYTES).toString('base64');
    send({ event_id: `event_${offset}`, type: 'input_audio_buffer.append', audio });
    setTimeout(sendAudio, 100, pcm, offset + CHUNK_BYTES);
    return;
  }
  if (flags.manual) send({ event_id: 'event_789', type: 'input_audio_buffer.commit' });
  send({ event_id: 'event_987', type: 'session.finish' });
}

let finished = false;
ws.on('message', (message) => {
  const event = JSON.parse(message);
  console.log(JSON.stringify(event));
  if (event.type === 'session.finished') {
    finished = true;
    ws.close(1000, 'ASR finished');
  }
});
ws.on('error', (error) => console.error(`error: ${error.message}`));
ws.on('close', (code) => {
  if (finished && code === 1000) {
    console.log('END-OK');
  } else {
    console.error(`closed with ${code} before the session ended`);
    process.exitCode = 1;
  }
});
