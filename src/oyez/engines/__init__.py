"""Recognisers, voice activity detectors and the emotion classifier, with their contracts."""
