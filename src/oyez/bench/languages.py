"""Whether a session knows the language of its speaker, where none is asked for.

Sessions are put together from utterances cut out of clips: several of one language in a row, some
of one language and then some of another, two languages in turn. Each is committed by the client,
so that it becomes an item of its own. The same utterances are heard alone, too.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.driver import transcribe_utterances
from oyez.bench.manifest import Clip
from oyez.bench.report import format_table, machine_line
from oyez.bench.voices import SEED, noise
from oyez.engines.base import WINDOW_SAMPLES, Recogniser, VoiceDetector
from oyez.files.media import MediaError, read_media

LENGTHS_S: dict[str, tuple[float, float]] = {
    "0.5 to 2 s": (0.5, 2.0),
    "2 to 4 s": (2.0, 4.0),
    "whole turns": (0.5, 18.0),
}
ROW = 6
"""Utterances in a row in one language."""
SPEECH = 0.3
"""Probability from which the detector's windows count as speech."""
GAP_SAMPLES = SAMPLE_RATE * 3 // 10
"""A turn of a clip ends where it is silent for longer."""
AROUND_SAMPLES = SAMPLE_RATE * 6 // 10
"""Soft noise before and after each utterance."""
PER_CLIP = 4
"""Utterances of each length that are cut from a clip at most."""
LONGEST_CLIP_SAMPLES = 45 * SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Utterance:
    language: str
    samples: Samples


Shelf = Mapping[str, Sequence[Utterance]]
"""Utterances of one length, by language."""


@dataclass(slots=True)
class Tally:
    """How many utterances at each place were given their own language."""

    right: dict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))

    def add(self, place: int, is_right: bool) -> None:
        self.right[place].append(is_right)

    def share(self, first: int, last: int) -> str:
        """Of places `first` to `last` together, in percent."""
        all_of = [value for n in range(first, last + 1) for value in self.right.get(n, ())]
        return f"{100 * sum(all_of) / len(all_of):.0f}" if all_of else "–"


@dataclass(slots=True)
class Results:
    """Tallies by length. A place is counted from the first utterance, or from the change."""

    alone: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    row: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    change: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    turns: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    sessions: int = 0


def cut(
    clips: Sequence[Clip], detector: VoiceDetector, random: Generator
) -> dict[str, dict[str, list[Utterance]]]:
    """Utterances by length and language. Clips that cannot be read are named on stderr."""
    shelves: dict[str, dict[str, list[Utterance]]] = {name: {} for name in LENGTHS_S}
    for clip in clips:
        if not clip.has_speech or clip.language is None:
            continue
        try:
            samples = read_media(clip.path)[:LONGEST_CLIP_SAMPLES]
        except (OSError, MediaError) as error:
            print(f"{clip.path}: {error}", file=sys.stderr)
            continue
        spoken = turns(samples, detector)
        for name in LENGTHS_S:
            for piece in _pieces(samples, spoken, name, random):
                shelf = shelves[name].setdefault(clip.language, [])
                shelf.append(Utterance(clip.language, _padded(piece, random)))
    return shelves


def turns(samples: Samples, detector: VoiceDetector) -> list[tuple[int, int]]:
    """Where speech begins and ends in a clip, in samples."""
    whole = samples[: len(samples) // WINDOW_SAMPLES * WINDOW_SAMPLES]
    if not len(whole):
        return []
    probabilities, _ = detector.score(whole, detector.initial_state())
    found: list[tuple[int, int]] = []
    for index in np.flatnonzero(probabilities >= SPEECH).tolist():
        start, end = index * WINDOW_SAMPLES, (index + 1) * WINDOW_SAMPLES
        if found and start - found[-1][1] <= GAP_SAMPLES:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def run(
    shelves: Mapping[str, Shelf],
    *,
    recogniser: Recogniser,
    detector: VoiceDetector,
    sessions: int,
) -> Results:
    """`sessions` sessions of each kind, length and language."""
    random = np.random.default_rng([SEED, len(shelves)])
    results = Results()

    def heard(utterances: Sequence[Utterance]) -> list[bool | None]:
        """Whether each was given its own language; None where there were no words."""
        results.sessions += 1
        print(f"\r{results.sessions} sessions", end="", file=sys.stderr)
        finals = transcribe_utterances(
            [each.samples for each in utterances], recogniser=recogniser, detector=detector
        ).finals
        return [
            language == each.language if text else None
            for each, (text, language) in zip(utterances, finals, strict=True)
        ]

    for name, shelf in shelves.items():
        for one in rows(shelf, sessions, random):
            _note(results.row[name], heard(one))
            for each in one:
                _note(results.alone[name], heard([each]))
        for before, after in changes(shelves["whole turns"], shelf, sessions, random):
            _note(results.change[name], heard([*before, *after])[len(before) :])
        for one in in_turn(shelf, sessions, random):
            _note(results.turns[name], heard(one))
    print(file=sys.stderr)
    return results


def rows(shelf: Shelf, count: int, random: Generator) -> Iterator[list[Utterance]]:
    """Sessions in one language."""
    for language in shelf:
        for _ in range(count):
            if len(shelf[language]) >= ROW:
                yield _some(shelf[language], ROW, random)


def changes(
    before: Shelf, shelf: Shelf, count: int, random: Generator
) -> Iterator[tuple[list[Utterance], list[Utterance]]]:
    """Four utterances in one language, and three in another."""
    languages = [code for code in shelf if len(shelf[code]) >= 3 and len(before.get(code, ())) >= 4]
    for language in languages if len(languages) > 1 else ():
        for _ in range(count):
            other = str(random.choice([code for code in languages if code != language]))
            yield _some(before[other], 4, random), _some(shelf[language], 3, random)


def in_turn(shelf: Shelf, count: int, random: Generator) -> Iterator[list[Utterance]]:
    """Two languages that take turns, utterance by utterance."""
    languages = [code for code in shelf if len(shelf[code]) >= ROW // 2]
    for language in languages if len(languages) > 1 else ():
        for _ in range(count):
            other = str(random.choice([code for code in languages if code != language]))
            pair = [_some(shelf[code], ROW // 2, random) for code in (language, other)]
            yield [each for both in zip(*pair, strict=True) for each in both]


def report(results: Results) -> str:
    """The tables, as Markdown; all figures are percent of utterances with words."""
    lengths = list(results.row)
    same = [
        [n, results.alone[n].share(0, 0), *_shares(results.row[n], 3), results.row[n].share(3, ROW)]
        for n in lengths
    ]
    changed = [[n, *_shares(results.change[n], 3)] for n in lengths]
    mixed = [[n, results.alone[n].share(0, 0), results.turns[n].share(1, ROW)] for n in lengths]
    return "\n".join(
        [
            machine_line(),
            f"\nUtterances given their own language, in percent; {results.sessions} sessions.\n",
            format_table(["in a row", "each alone", "1st", "2nd", "3rd", "later"], same),
            "",
            format_table(["after a change", "1st", "2nd", "3rd"], changed),
            "",
            format_table(["two in turn", "each alone", "in the session"], mixed),
        ]
    )


def _shares(tally: Tally, count: int) -> list[str]:
    return [tally.share(place, place) for place in range(count)]


def _note(tally: Tally, heard: Sequence[bool | None]) -> None:
    for place, is_right in enumerate(heard):
        if is_right is not None:
            tally.add(place, is_right)


def _pieces(
    samples: Samples, spoken: Sequence[tuple[int, int]], name: str, random: Generator
) -> Iterator[Samples]:
    """Utterances of one length: of as many turns, or the beginnings of turns."""
    low, high = (round(length_s * SAMPLE_RATE) for length_s in LENGTHS_S[name])
    long_enough = [(start, end) for start, end in spoken if end - start >= low]
    for index in random.permutation(len(long_enough))[:PER_CLIP].tolist():
        start, end = long_enough[index]
        length = high if name == "whole turns" else int(random.integers(low, high))
        yield samples[start : min(end, start + length)]


def _padded(samples: Samples, random: Generator) -> Samples:
    around = [noise(AROUND_SAMPLES, random) for _ in range(2)]
    return np.concatenate([around[0], samples, around[1]])


def _some(utterances: Sequence[Utterance], count: int, random: Generator) -> list[Utterance]:
    return [utterances[n] for n in random.permutation(len(utterances))[:count].tolist()]
