"""The parts that all Whisper engines share: weights, vocabulary, features, text checks."""
