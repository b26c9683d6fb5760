"""Whether a session finds the language of its speaker if none is asked for.

Sessions are put together from utterances cut out of clips: several in one language, some in one
language and then some in another, and two languages by turns. The client commits each, so that it
becomes an item of its own. The same utterances are also recognised in a session each.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
from numpy.random import Generator

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.clips import SEED, Clip, noise
from oyez.bench.driver import transcribe_utterances
from oyez.bench.options import MANIFEST, engine_options, load_engines, read_clips
from oyez.bench.report import format_table, machine_line
from oyez.engines.base import WINDOW_SAMPLES, Recogniser, VoiceDetector
from oyez.files.media import MediaError, read_media

LENGTHS_S: dict[str, tuple[float, float]] = {
    "0.5 to 2 s": (0.5, 2.0),
    "2 to 4 s": (2.0, 4.0),
    "whole turns": (0.5, 18.0),
}
ROW = 6
"""The utterances of a session in one language."""
SPEECH = 0.3
"""The least probability of a window that counts as speech."""
GAP_SAMPLES = SAMPLE_RATE * 3 // 10
"""A turn of a clip ends in a pause that is longer."""
AROUND_SAMPLES = SAMPLE_RATE * 6 // 10
"""The length of soft noise before and after each utterance."""
PER_CLIP = 4
"""The most utterances of each length that are cut from a clip."""
LONGEST_CLIP_SAMPLES = 45 * SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Utterance:
    """Speech in one language, with soft noise around it."""

    language: str
    samples: Samples


Shelf = Mapping[str, Sequence[Utterance]]
"""The utterances of one length, by language."""


@dataclass(slots=True)
class Places:
    """Which utterances at each place of their sessions were given their own language."""

    right: dict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))

    def add(self, place: int, is_right: bool) -> None:
        """Add one utterance."""
        self.right[place].append(is_right)

    def share(self, first: int, last: int) -> str:
        """Return the percent of the places from `first` to `last`."""
        all_of = [value for n in range(first, last + 1) for value in self.right.get(n, ())]
        return f"{100 * sum(all_of) / len(all_of):.0f}" if all_of else "–"


@dataclass(slots=True)
class Results:
    """Places by length of the utterances, counted from the first one, or from the change."""

    alone: dict[str, Places] = field(default_factory=lambda: defaultdict(Places))
    row: dict[str, Places] = field(default_factory=lambda: defaultdict(Places))
    change: dict[str, Places] = field(default_factory=lambda: defaultdict(Places))
    turns: dict[str, Places] = field(default_factory=lambda: defaultdict(Places))
    sessions: int = 0


def cut(
    clips: Sequence[Clip], detector: VoiceDetector, random: Generator
) -> dict[str, dict[str, list[Utterance]]]:
    """Cut utterances, by length and language. Clips that cannot be read are named on stderr."""
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
    """Return where speech begins and ends in a clip, in samples."""
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
    """Recognise `sessions` sessions of each kind, length and language."""
    random = np.random.default_rng([SEED, len(shelves)])
    results = Results()

    def given_own(utterances: Sequence[Utterance]) -> list[bool | None]:
        """Return whether each was given its own language; None if it has no words."""
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
            _note(results.row[name], given_own(one))
            for each in one:
                _note(results.alone[name], given_own([each]))
        for before, after in changes(shelves["whole turns"], shelf, sessions, random):
            _note(results.change[name], given_own([*before, *after])[len(before) :])
        for one in in_turn(shelf, sessions, random):
            _note(results.turns[name], given_own(one))
    print(file=sys.stderr)
    return results


def rows(shelf: Shelf, count: int, random: Generator) -> Iterator[list[Utterance]]:
    """Yield sessions in one language."""
    for language in shelf:
        for _ in range(count):
            if len(shelf[language]) >= ROW:
                yield _some(shelf[language], ROW, random)


def changes(
    before: Shelf, shelf: Shelf, count: int, random: Generator
) -> Iterator[tuple[list[Utterance], list[Utterance]]]:
    """Yield four utterances in one language, and three in another."""
    languages = [code for code in shelf if len(shelf[code]) >= 3 and len(before.get(code, ())) >= 4]
    for language in languages if len(languages) > 1 else ():
        for _ in range(count):
            other = str(random.choice([code for code in languages if code != language]))
            yield _some(before[other], 4, random), _some(shelf[language], 3, random)


def in_turn(shelf: Shelf, count: int, random: Generator) -> Iterator[list[Utterance]]:
    """Yield sessions in which two languages alternate."""
    languages = [code for code in shelf if len(shelf[code]) >= ROW // 2]
    for language in languages if len(languages) > 1 else ():
        for _ in range(count):
            other = str(random.choice([code for code in languages if code != language]))
            pair = [_some(shelf[code], ROW // 2, random) for code in (language, other)]
            yield [each for both in zip(*pair, strict=True) for each in both]


def report(results: Results) -> str:
    """Return the tables as Markdown. All figures are percent of utterances with words."""
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


def _shares(places: Places, count: int) -> list[str]:
    return [places.share(place, place) for place in range(count)]


def _note(places: Places, rights: Sequence[bool | None]) -> None:
    for place, is_right in enumerate(rights):
        if is_right is not None:
            places.add(place, is_right)


def _pieces(
    samples: Samples, spoken: Sequence[tuple[int, int]], name: str, random: Generator
) -> Iterator[Samples]:
    """Yield utterances of one length: whole turns, or the beginnings of turns."""
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


@click.command()
@click.option("--manifest", required=True, type=MANIFEST, help="The clips.")
@click.option("--languages", default="", help="Only these: codes with commas between.")
@click.option("--limit", type=click.IntRange(1), help="At most so many clips per language.")
@click.option(
    "--sessions",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Sessions of each kind, length and language.",
)
@engine_options
@click.option("--vad", default="silero", show_default=True, help="Voice activity detector.")
def main(
    manifest: Path,
    languages: str,
    limit: int | None,
    sessions: int,
    engine: str,
    model: str,
    threads: int,
    vad: str,
) -> None:
    """How often utterances are given their own language, alone and in a session.

    No language is asked for. Sessions are put together from utterances of the
    clips: in one language, with a change of language, with two languages by turns.
    """
    clips = read_clips(manifest, languages, limit)
    engines = load_engines(engine, model, threads, vad)
    shelves = cut(clips, engines.detector, np.random.default_rng(SEED))
    results = run(
        shelves, recogniser=engines.recogniser, detector=engines.detector, sessions=sessions
    )
    click.echo(report(results))


if __name__ == "__main__":
    main(prog_name="python -m research.languages")
