"""Synthetic sounds without speech, and what changes speech between a mouth and a server.

Every function works on float32 [n] at 16 kHz unless it says otherwise. The same generator state
gives the same audio.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import av
import numpy as np
import soxr
from numpy.random import Generator
from numpy.typing import NDArray

from oyez.audio.pcm import SAMPLE_RATE, Samples

Condition = Callable[[Samples, Generator], Samples]
"""A change of speech. The generator decides whatever is random in it."""

TELEPHONE_RATE_HZ = 8_000
LOWEST_AUDIBLE_HZ = 20
SOUND_DB = -20
"""The level of synthetic noise, below full scale."""

_DTMF_HZ = ((697, 770, 852, 941), (1209, 1336, 1477))
_CHORDS_HZ = ((262, 330, 392), (220, 262, 330), (175, 220, 262), (196, 247, 294))
_HARMONICS = 4


def level_db(samples: Samples) -> float:
    """The mean power in dB below full scale; -120 for digital silence."""
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-12))


def amplified(samples: Samples, gain_db: float) -> Samples:
    """Return the samples with `gain_db` added to their level."""
    return samples * np.float32(10 ** (gain_db / 20))


def as_sent(samples: Samples) -> Samples:
    """Round and clip the samples as 16-bit integers on the wire do."""
    sent: Samples = np.clip(np.rint(samples * 32_768), -32_768, 32_767).astype(np.float32)
    return sent / np.float32(32_768)


# Noise and rooms


def noise(count: int, random: Generator, *, low_hz: float = 0, high_hz: float = 8_000) -> Samples:
    """Return white noise between two frequencies, at SOUND_DB."""
    if not count:
        return np.zeros(0, np.float32)
    hz = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    spectrum = np.fft.rfft(random.standard_normal(count)) * ((hz >= low_hz) & (hz <= high_hz))
    return _at_level(np.fft.irfft(spectrum, count), SOUND_DB)


def pink_noise(count: int, random: Generator) -> Samples:
    """Return noise with equal power in every octave from 20 Hz, as in rooms, at SOUND_DB."""
    return _at_level(_pink(count, random, LOWEST_AUDIBLE_HZ), SOUND_DB)


def with_pink_noise(samples: Samples, snr_db: float, random: Generator) -> Samples:
    """Add pink noise `snr_db` below the loud parts of the speech.

    The noise has no lowest frequency: the shipped emotion weights were trained with it.
    """
    pink = _pink(len(samples), random, 0)
    loud = samples[np.abs(samples) > np.abs(samples).max() / 20]
    gain = _rms(loud) / (_rms(pink) + 1e-9) * 10 ** (-snr_db / 20)
    return samples + (pink * gain).astype(np.float32)


def echoes(length: int, random: Generator) -> NDArray[np.float64]:
    """Return the impulse response of a room: noise that decays by 60 dB over its length."""
    decay = 10 ** (-3 * np.arange(length) / length)
    response: NDArray[np.float64] = random.standard_normal(length) * decay
    return response


def reverberated(samples: Samples, random: Generator, rt60_s: float = 0.6) -> Samples:
    """Return the speech as a microphone some metres away gets it, as loud as before.

    rt60_s: the time in which sound decays by 60 dB. The direct sound carries a quarter of the
    power.
    """
    response = echoes(round(rt60_s * SAMPLE_RATE), random)
    response[0] = np.sqrt(np.sum(response[1:] ** 2) / 3)
    wet = _convolved(samples, response)
    return amplified(wet, level_db(samples) - level_db(wet))


def slightly_reverberated(samples: Samples, random: Generator) -> Samples:
    """Add echoes that decay by 60 dB in 0.2 to 0.6 s and are softer than the direct sound."""
    response = echoes(int(random.uniform(0.2, 0.6) * SAMPLE_RATE), random)
    response *= 0.3 / np.sqrt(np.square(response).sum())
    response[0] = 1
    return _convolved(samples, response)


# Telephones and codecs


def narrow_band(samples: Samples) -> Samples:
    """Remove everything from 4 kHz upwards."""
    spectrum = np.fft.rfft(samples)
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    spectrum[hz >= TELEPHONE_RATE_HZ / 2] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32)


def telephone(samples: Samples, random: Generator) -> Samples:
    """Resample to 8 kHz and back, as a telephone gateway does."""
    narrow = soxr.resample(samples, SAMPLE_RATE, TELEPHONE_RATE_HZ)
    return _fitted(soxr.resample(narrow, TELEPHONE_RATE_HZ, SAMPLE_RATE), len(samples))


def through_opus(samples: Samples, bits_per_s: int) -> Samples:
    """Encode with Opus at this bit rate and decode again."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as out:
        stream = out.add_stream("libopus", rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = bits_per_s
        pcm = (np.clip(samples, -1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    file.seek(0)
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    with av.open(file, "r") as coded:
        frames = [f for frame in coded.decode(audio=0) for f in resampler.resample(frame)]
    frames += resampler.resample(None)
    return _fitted(np.concatenate([frame.to_ndarray()[0] for frame in frames]), len(samples))


# Conditions of the emotion classifier


def cut_differently(samples: Samples, random: Generator) -> Samples:
    """Cut 0.15 s from the beginning and add 0.3 s of silence to the end.

    A detector may place the edges of a turn that much later.
    """
    shift = SAMPLE_RATE * 15 // 100
    return np.concatenate([samples[shift:], np.zeros(2 * shift, np.float32)])


def varied(samples: Samples, random: Generator) -> Samples:
    """Apply a random mixture of speeds, rooms, noise, telephones, codecs, cuts and levels."""
    if random.random() < 0.4:
        samples = soxr.resample(samples, SAMPLE_RATE, int(SAMPLE_RATE * random.uniform(0.9, 1.12)))
    if random.random() < 0.25:
        samples = slightly_reverberated(samples, random)
    if random.random() < 0.45:
        samples = with_pink_noise(samples, random.uniform(8, 25), random)
    codec = random.random()
    if codec < 0.2:
        samples = telephone(samples, random)
    elif codec < 0.4:
        samples = through_opus(samples, int(random.choice([8_000, 12_000, 20_000])))
    samples = _cut_or_lengthened(samples, random)
    wanted_db = random.uniform(-45, -14)
    gain = 10 ** (wanted_db / 20) / (_rms(samples) + 1e-6)
    levelled: Samples = np.clip(samples * np.float32(gain), -1, 1)
    return levelled


EMOTION_CONDITIONS: Mapping[str, Condition] = {
    "20 dB quieter": lambda samples, random: samples * np.float32(0.1),
    "noise at 15 dB": lambda samples, random: with_pink_noise(samples, 15.0, random),
    "8 kHz": telephone,
    "Opus, 12 kbit/s": lambda samples, random: through_opus(samples, 12_000),
    "cut 0.15 s later": cut_differently,
}
"""What `research.emotion.measure` tries on every recording."""


# Sounds without speech


def keyboard(count: int, random: Generator) -> Samples:
    """Three to eight keys a second, pressed and released; the loudest is near full scale."""
    sound = np.zeros(count, np.float32)
    at = 0
    while (at := at + round(SAMPLE_RATE / random.uniform(3, 8))) < count:
        key = _strike(random, random.uniform(0.005, 0.015), low_hz=random.uniform(300, 2_000))
        _add(sound, at, amplified(key, random.uniform(-25, 0)))
        _add(sound, at + round(SAMPLE_RATE * random.uniform(0.05, 0.1)), key * np.float32(0.1))
    return sound


def knocks(count: int, random: Generator) -> Samples:
    """Two to five knocks on wood in a row, then a pause."""
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
    """Breathing into a headset: soft noise that swells for 0.3 to 0.8 s every two seconds or so."""
    sound = np.zeros(count, np.float32)
    at = 0
    while (at := at + round(SAMPLE_RATE * random.uniform(1, 3))) < count:
        length = round(SAMPLE_RATE * random.uniform(0.3, 0.8))
        air = noise(length, random, low_hz=300, high_hz=random.uniform(2_000, 5_000))
        swelling = np.hanning(length).astype(np.float32)
        _add(sound, at, amplified(air * swelling, random.uniform(-25, 0)))
    return sound


def dtmf(count: int, random: Generator) -> Samples:
    """Telephone keys of 0.1 to 0.3 s with pauses of the same length."""
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
    """A tone of 440 Hz, a second on and a second off."""
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
    """Digital silence."""
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
"""Sounds in which a detector should find no speech, by name."""


def _strike(random: Generator, decay_s: float, low_hz: float) -> Samples:
    times_s = np.arange(SAMPLE_RATE // 10) / SAMPLE_RATE
    burst = noise(len(times_s), random, low_hz=low_hz) * np.exp(-times_s / decay_s)
    return (burst * np.float32(0.9 / np.max(np.abs(burst)))).astype(np.float32)


def _add(sound: Samples, at: int, part: Samples) -> None:
    left = max(0, len(sound) - at)
    sound[at : at + len(part)] += part[:left]


def _pink(count: int, random: Generator, lowest_hz: float) -> NDArray[np.float64]:
    """Return pink noise of no particular level."""
    bins = np.arange(count // 2 + 1)
    lowest_bin = lowest_hz * count / SAMPLE_RATE
    gain = (bins >= lowest_bin) / np.sqrt(bins.clip(max(lowest_bin, 1)))
    pink: NDArray[np.float64] = np.fft.irfft(
        np.fft.rfft(random.standard_normal(count)) * gain, count
    )
    return pink


def _at_level(samples: NDArray[np.float64], wanted_db: float) -> Samples:
    sound = samples.astype(np.float32)
    return amplified(sound, wanted_db - level_db(sound))


def _convolved(samples: Samples, response: NDArray[np.float64]) -> Samples:
    size = 1 << (len(samples) + len(response)).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)
    return wet[: len(samples)].astype(np.float32)


def _cut_or_lengthened(samples: Samples, random: Generator) -> Samples:
    """Cut up to a quarter of a second from the beginning, or put as much hiss before it."""
    count = int(random.integers(0, SAMPLE_RATE // 4))
    if random.random() < 0.5:
        return samples[count:]
    hiss = (random.standard_normal(count) * 1e-4).astype(np.float32)
    return np.concatenate([hiss, samples])


def _fitted(samples: Samples, length: int) -> Samples:
    shorter = samples[:length].astype(np.float32)
    return np.pad(shorter, (0, length - len(shorter)))


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
