"""What context biasing gains, and what it costs the other words.

Every recording is streamed without a context, with the terms said in it, with these among many that
are not said, with others only, and with prose in which they occur.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from oyez.bench.clips import Clip
from oyez.bench.driver import transcribe
from oyez.engines.base import Recogniser, VoiceDetector
from oyez.files.media import MediaError, read_media
from research.context.terms import TermScore, rare_terms, score_terms, written

NOTHING = "nothing"
TERMS = "terms"
AMONG_100 = "terms + 100"
AMONG_1000 = "terms + 1000"
OTHERS = "100 others"
PROSE = "prose"
CONDITIONS = (NOTHING, TERMS, AMONG_100, AMONG_1000, OTHERS, PROSE)
PROSE_TEXTS = 5
"""How many references of other recordings stand around the recording's own."""


@dataclass(frozen=True, slots=True)
class TermResult:
    """What was recognised in one recording with one kind of context."""

    clip: Clip
    condition: str
    text: str
    score: TermScore
    given: tuple[str, ...]
    """The terms of the context, without those that only its prose holds."""
    leaks: frozenset[str]
    """The given terms that were written, though neither the reference nor the text without a
    context holds them."""
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Material:
    """What contexts are made of, by the path of the recording."""

    terms: Mapping[str, Sequence[str]]
    references: Mapping[str, str]
    languages: Mapping[str, str]

    def context(self, clip: Clip, condition: str) -> tuple[str, tuple[str, ...]]:
        """Return the text to send, and the terms in it."""
        own = list(self.terms.get(str(clip.path), ()))
        if condition == NOTHING:
            return "", ()
        if condition == PROSE:
            return self._prose(clip), tuple(own)
        count = {TERMS: 0, AMONG_1000: 1000}.get(condition, 100)
        given = ([] if condition == OTHERS else own) + self._others(clip)[:count]
        random.Random(0).shuffle(given)
        return ", ".join(given), tuple(given)

    def _others(self, clip: Clip) -> list[str]:
        """Return terms that are not said in the recording, those of its language first."""
        said = self.references.get(str(clip.path), "").casefold()
        near: dict[str, None] = {}
        far: dict[str, None] = {}
        for path, terms in self.terms.items():
            kind = near if self.languages[path] == clip.language else far
            kind.update(dict.fromkeys(term for term in terms if term.casefold() not in said))
        lists = [list(near), [term for term in far if term not in near]]
        for each in lists:
            random.Random(0).shuffle(each)
        return lists[0] + lists[1]

    def _prose(self, clip: Clip) -> str:
        """Return the reference among those of other recordings, of its language if it has one."""
        own = str(clip.path)
        alike = [p for p, code in self.languages.items() if code == clip.language]
        around = [path for path in alike or self.languages if path != own][:PROSE_TEXTS]
        paths = sorted([*around, own] if own in self.references else around)
        return ". ".join(self.references[path].rstrip(". ") for path in paths)


def gather(clips: Sequence[Clip]) -> Material:
    """Collect the terms of all clips that have a reference."""
    references: dict[str, str] = {}
    languages: dict[str, str] = {}
    for clip in clips:
        if clip.reference and clip.language and clip.reference not in references.values():
            references[str(clip.path)] = clip.reference
            languages[str(clip.path)] = clip.language
    terms: dict[str, list[str]] = {}
    for code in sorted(set(languages.values())):
        own = {path: references[path] for path, spoken in languages.items() if spoken == code}
        terms |= rare_terms(own, code)
    return Material(terms, references, languages)


def run(
    clips: Sequence[Clip],
    material: Material,
    *,
    recogniser: Recogniser,
    detector: VoiceDetector,
    conditions: Sequence[str] = CONDITIONS,
    partials: bool = False,
) -> Iterator[TermResult]:
    """Yield one result per condition and clip that has terms or no speech.

    Progress goes to stderr. A clip that cannot be read is named there and left out.
    """
    measured = [c for c in clips if material.terms.get(str(c.path)) or not c.has_speech]
    for number, clip in enumerate(measured, start=1):
        try:
            samples = read_media(clip.path)
        except (OSError, MediaError) as error:
            print(f"{clip.path}: {error}", file=sys.stderr)
            continue
        print(f"\r{number}/{len(measured)} {clip.path.name:<60.60}", end="", file=sys.stderr)
        plain = ""
        for condition in (NOTHING, *(c for c in conditions if c != NOTHING)):
            context, given = material.context(clip, condition)
            start = time.process_time()
            transcript = transcribe(
                samples,
                recogniser=recogniser,
                detector=detector,
                language=clip.language,
                partials=partials,
                context=context,
            )
            spent_s = time.process_time() - start
            plain = transcript.text if condition == NOTHING else plain
            yield _judge(clip, condition, transcript.text, plain, given, spent_s, material)
    print(file=sys.stderr)


def _judge(
    clip: Clip,
    condition: str,
    text: str,
    plain: str,
    given: tuple[str, ...],
    cpu_s: float,
    material: Material,
) -> TermResult:
    code, reference = clip.language or "en", clip.reference or ""
    score = score_terms(reference, text, code, material.terms.get(str(clip.path), ()))
    expected = written(given, reference, code) | written(given, plain, code)
    leaks = frozenset(written(given, text, code) - expected)
    return TermResult(clip, condition, text, score, given, leaks, cpu_s)
