"""What happens to speech between a mouth and a server: levels, noise, telephones, codecs, rooms.

Each condition is a function of float32 [n] at 16 kHz and a generator of randomness.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import av
import numpy as np
import soxr

from oyez.audio.pcm import SAMPLE_RATE, Samples

Random = np.random.Generator
Condition = Callable[[Samples, Random], Samples]

TELEPHONE_RATE = 8_000


def quieter(samples: Samples, random: Random) -> Samples:
    """20 dB less."""
    return samples * np.float32(0.1)


def noisy(samples: Samples, random: Random) -> Samples:
    """Pink noise 15 dB below the speech."""
    return with_noise(samples, 15.0, random)


def telephone(samples: Samples, random: Random) -> Samples:
    """Nothing above 4 kHz."""
    narrow = soxr.resample(samples, SAMPLE_RATE, TELEPHONE_RATE)
    return _fitted(soxr.resample(narrow, TELEPHONE_RATE, SAMPLE_RATE), len(samples))


def opus(samples: Samples, random: Random) -> Samples:
    """Through Opus at 12 kbit/s."""
    return through_opus(samples, 12_000)


def cut_differently(samples: Samples, random: Random) -> Samples:
    """0.15 s less at the beginning, 0.15 s of silence more at the end, as where a turn is found to
    begin and end a little later."""
    shift = SAMPLE_RATE * 15 // 100
    return np.concatenate([samples[shift:], np.zeros(2 * shift, np.float32)])


TESTED: dict[str, Condition] = {
    "20 dB quieter": quieter,
    "noise at 15 dB": noisy,
    "8 kHz": telephone,
    "Opus, 12 kbit/s": opus,
    "cut 0.15 s later": cut_differently,
}


def anything(samples: Samples, random: Random) -> Samples:
    """A random mixture of all this, for training."""
    if random.random() < 0.4:
        samples = soxr.resample(samples, SAMPLE_RATE, int(SAMPLE_RATE * random.uniform(0.9, 1.12)))
    if random.random() < 0.25:
        samples = in_a_room(samples, random)
    if random.random() < 0.45:
        samples = with_noise(samples, random.uniform(8, 25), random)
    codec = random.random()
    if codec < 0.2:
        samples = telephone(samples, random)
    elif codec < 0.4:
        samples = through_opus(samples, int(random.choice([8_000, 12_000, 20_000])))
    samples = _cut_or_lengthened(samples, random)
    level_db = random.uniform(-45, -14)
    gain = 10 ** (level_db / 20) / (_rms(samples) + 1e-6)
    levelled: Samples = np.clip(samples * np.float32(gain), -1, 1)
    return levelled


def with_noise(samples: Samples, snr_db: float, random: Random) -> Samples:
    """Pink noise, `snr_db` below the loud parts."""
    spectrum = np.fft.rfft(random.standard_normal(len(samples)))
    pink = np.fft.irfft(spectrum / np.sqrt(np.arange(len(spectrum)).clip(1)), len(samples))
    loud = samples[np.abs(samples) > np.abs(samples).max() / 20]
    gain = _rms(loud) / (_rms(pink) + 1e-9) * 10 ** (-snr_db / 20)
    return samples + (pink * gain).astype(np.float32)


def in_a_room(samples: Samples, random: Random) -> Samples:
    """With echoes that die away by 60 dB in 0.2 to 0.6 s."""
    length = int(random.uniform(0.2, 0.6) * SAMPLE_RATE)
    echoes = random.standard_normal(length) * 10 ** (-3 * np.arange(length) / length)
    echoes *= 0.3 / np.sqrt(np.square(echoes).sum())
    echoes[0] = 1
    size = 1 << (len(samples) + length).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echoes, size), size)
    return wet[: len(samples)].astype(np.float32)


def through_opus(samples: Samples, bits_per_s: int) -> Samples:
    """Encoded and decoded again."""
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


def _cut_or_lengthened(samples: Samples, random: Random) -> Samples:
    """Up to a quarter of a second less, or more, at the beginning."""
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
