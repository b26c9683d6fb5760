"""Voice activity detectors: how likely each window of audio is speech."""
