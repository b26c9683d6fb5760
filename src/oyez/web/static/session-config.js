// What the settings of the page mean on the wire. Pure.

/** values: {turns, threshold, silence_ms, language, context} → the `session` of a session.update */
export function sessionConfig(values) {
  const transcription = {};
  if (values.language) transcription.language = values.language;
  if (values.context.trim()) transcription.corpus = { text: values.context };
  const vad = {
    type: "server_vad",
    threshold: values.threshold,
    silence_duration_ms: values.silence_ms,
  };
  return {
    modalities: ["text"],
    input_audio_format: "pcm",
    sample_rate: 16000,
    input_audio_transcription: transcription,
    turn_detection: values.turns === "manual" ? null : vad,
  };
}
