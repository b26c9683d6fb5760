"""Audio of a client becomes samples: PCM and Opus in, float32 at 16 kHz out."""
