"""Whisper on ONNX Runtime, with graphs that encode only the audio that is there."""
