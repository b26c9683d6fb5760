"""Sounds without speech, and what lies between a mouth and a microphone, all from formulas.

Samples are float32 [n], 16 kHz. The same generator state gives the same sound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.random import Generator

from oyez.audio.pcm import SAMPLE_RATE, Samples, pcm16_to_samples, samples_to_pcm16

_DTMF_HZ = ((697, 770, 852, 941), (1209, 1336, 1477))
_CHORDS_HZ = ((262, 330, 392), (220, 262, 330), (175, 220, 262), (196, 247, 294))
_HARMONICS = 4
_HALF_OF_8_KHZ = 4_000


def level_db(samples: Samples) -> float:
    """Mean power in dB below full scale; -120 for nothing at all."""
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


def amplified(samples: Samples, gain_db: float) -> Samples:
    return samples * np.float32(10 ** (gain_db / 20))


def as_sent(samples: Samples) -> Samples:
    """As 16-bit integers on the wire carry it: rounded, and clipped at full scale."""
    return pcm16_to_samples(samples_to_pcm16(samples))


def noise(count: int, random: Generator, *, low_hz: float = 0, high_hz: float = 8_000) -> Samples:
    """White noise of that band, -20 dB below full scale."""
    return _shaped(count, random, lambda hz: (hz >= low_hz) & (hz <= high_hz))


def pink_noise(count: int, random: Generator) -> Samples:
    """Equal power in every octave from 20 Hz, as in rooms and streets; -20 dB."""
    return _shaped(count, random, lambda hz: (hz >= 20) / np.sqrt(np.maximum(hz, 20)))


def narrow_band(samples: Samples) -> Samples:
    """What is left of it at 8 kHz."""
    spectrum = np.fft.rfft(samples)
    spectrum[_frequencies_hz(len(samples)) >= _HALF_OF_8_KHZ] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def reverberated(samples: Samples, random: Generator, rt60_s: float = 0.6) -> Samples:
    """In a room where sound dies away by 60 dB in `rt60_s`, as loud as before.

    The direct sound carries a quarter of the power, as it does some metres away.
    """
    times_s = np.arange(round(rt60_s * SAMPLE_RATE)) / SAMPLE_RATE
    response = random.standard_normal(len(times_s)) * 10 ** (-3 * times_s / rt60_s)
    response[0] = np.sqrt(np.sum(response[1:] ** 2) / 3)
    size = len(samples) + len(response)
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(response, size)
    wet: Samples = np.fft.irfft(spectrum, size)[: len(samples)].astype(np.float32)
    return amplified(wet, level_db(samples) - level_db(wet))


def keyboard(count: int, random: Generator) -> Samples:
    """Three to eight keys a second, pressed and released; the loudest near full scale."""
    sound = np.zeros(count, np.float32)
    at = 0
    while (at := at + round(SAMPLE_RATE / random.uniform(3, 8))) < count:
        key = _strike(random, random.uniform(0.005, 0.015), low_hz=random.uniform(300, 2_000))
        _add(sound, at, amplified(key, random.uniform(-25, 0)))
        _add(sound, at + round(SAMPLE_RATE * random.uniform(0.05, 0.1)), key * np.float32(0.1))
    return sound


def knocks(count: int, random: Generator) -> Samples:
    """On wood: two to five in a row, then a pause."""
    sound = np.zeros(count, np.float32)
    at = 0
    while (at := at + round(SAMPLE_RATE * random.uniform(0.8, 2))) < count:
        pitch_hz = random.uniform(80, 300)
        for _ in range(random.integers(2, 6)):
            times_s = np.arange(SAMPLE_RATE // 5) / SAMPLE_RATE
            ringing = np.sin(2 * np.pi * pitch_hz * times_s) * np.exp(-times_s / 0.02)
            _add(sound, at, (0.5 * ringing).astype(np.float32))
            at += round(SAMPLE_RATE * random.uniform(0.15, 0.3))
    return sound


def breath(count: int, random: Generator) -> Samples:
    """Into a headset: soft noise that swells for 0.3 to 0.8 s, every two seconds or so."""
    sound = np.zeros(count, np.float32)
    at = 0
    while (at := at + round(SAMPLE_RATE * random.uniform(1, 3))) < count:
        length = round(SAMPLE_RATE * random.uniform(0.3, 0.8))
        air = noise(length, random, low_hz=300, high_hz=random.uniform(2_000, 5_000))
        swelling = np.hanning(length).astype(np.float32)
        _add(sound, at, amplified(air * swelling, random.uniform(-25, 0)))
    return sound


def dtmf(count: int, random: Generator) -> Samples:
    """Telephone keys: 0.1 to 0.3 s each, as much between."""
    sound = np.zeros(count, np.float32)
    at = 0
    while (at := at + round(SAMPLE_RATE * random.uniform(0.1, 0.3))) < count:
        times_s = np.arange(round(SAMPLE_RATE * random.uniform(0.1, 0.3))) / SAMPLE_RATE
        pair = [random.choice(group) for group in _DTMF_HZ]
        key = sum(np.sin(2 * np.pi * hz * times_s) for hz in pair)
        _add(sound, at, (0.2 * np.asarray(key)).astype(np.float32))
        at += len(times_s)
    return sound


def hold_tone(count: int, random: Generator) -> Samples:
    """440 Hz, a second on and a second off."""
    times_s = np.arange(count) / SAMPLE_RATE
    on = times_s % 2 < 1
    return (0.3 * on * np.sin(2 * np.pi * 440 * times_s)).astype(np.float32)


def chords(count: int, random: Generator) -> Samples:
    """Struck strings: a chord with overtones every half second."""
    sound = np.zeros(count, np.float32)
    times_s = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    for number, at in enumerate(range(0, count, SAMPLE_RATE // 2)):
        for pitch_hz in _CHORDS_HZ[number // 4 % len(_CHORDS_HZ)]:
            for overtone in range(1, _HARMONICS + 1):
                wave = np.sin(2 * np.pi * pitch_hz * overtone * times_s) / overtone
                _add(sound, at, (0.05 * wave * np.exp(-3 * times_s)).astype(np.float32))
    return sound


def silence(count: int, random: Generator) -> Samples:
    return np.zeros(count, np.float32)


WITHOUT_SPEECH: Mapping[str, Callable[[int, Generator], Samples]] = {
    "silence": silence,
    "pink noise": pink_noise,
    "keyboard": keyboard,
    "knocks": knocks,
    "breath": breath,
    "DTMF": dtmf,
    "hold tone": hold_tone,
    "chords": chords,
}


def _strike(random: Generator, decay_s: float, low_hz: float) -> Samples:
    times_s = np.arange(SAMPLE_RATE // 10) / SAMPLE_RATE
    burst = noise(len(times_s), random, low_hz=low_hz) * np.exp(-times_s / decay_s)
    return (burst * np.float32(0.9 / np.max(np.abs(burst)))).astype(np.float32)


def _add(sound: Samples, at: int, part: Samples) -> None:
    room = max(0, len(sound) - at)
    sound[at : at + len(part)] += part[:room]


def _shaped(count: int, random: Generator, gain: Callable[[np.ndarray], np.ndarray]) -> Samples:
    if not count:
        return np.zeros(0, np.float32)
    spectrum = np.fft.rfft(random.standard_normal(count)) * gain(_frequencies_hz(count))
    shaped = np.fft.irfft(spectrum, count).astype(np.float32)
    return amplified(shaped, -20 - level_db(shaped))


def _frequencies_hz(count: int) -> np.ndarray:
    return np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
