"""What context biasing gains, and what it costs the other words.

Every recording is streamed with nothing, with the terms said in it, with these among many that
are not, with such others only, and with prose in which they occur.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oyez.bench.driver import transcribe
from oyez.bench.manifest import Clip
from oyez.bench.report import format_table, machine_line
from oyez.bench.scoring import count_words
from oyez.bench.term_scoring import TermScore, score_terms, written
from oyez.bench.terms import rare_terms
from oyez.engines.base import Recogniser, VoiceDetector
from oyez.files.media import MediaError, read_media

NOTHING, TERMS, AMONG_100, AMONG_1000, OTHERS, PROSE = (
    "nothing", "terms", "terms + 100", "terms + 1000", "100 others", "prose",
)  # fmt: skip
CONDITIONS = (NOTHING, TERMS, AMONG_100, AMONG_1000, OTHERS, PROSE)
PROSE_TEXTS = 5
"""References of other recordings around the recording's own."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was heard in one recording with one kind of context."""

    clip: Clip
    condition: str
    text: str
    score: TermScore
    given: tuple[str, ...]
    """Terms of the context, those of prose left out."""
    leaks: frozenset[str]
    """Of these, what was written though it is not in the reference, nor written without context."""
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Material:
    """What contexts are made of."""

    terms: Mapping[str, Sequence[str]]
    """By path of the recording."""
    references: Mapping[str, str]
    languages: Mapping[str, str]

    def context(self, clip: Clip, condition: str) -> tuple[str, tuple[str, ...]]:
        """The text to send, and the terms in it."""
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
        """Terms that are not said in the recording: first those of its language."""
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
        """The reference between those of other recordings, of its language where it has one."""
        own = str(clip.path)
        alike = [p for p, code in self.languages.items() if code == clip.language]
        around = [path for path in alike or self.languages if path != own][:PROSE_TEXTS]
        paths = sorted([*around, own] if own in self.references else around)
        return ". ".join(self.references[path].rstrip(". ") for path in paths)


def gather(clips: Sequence[Clip]) -> Material:
    """The terms of all clips that have a reference."""
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
) -> Iterator[Outcome]:
    """One outcome per condition and clip that has terms or no speech; progress goes to stderr.
    Clips that cannot be read are named there and left out."""
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
            heard = transcribe(
                samples,
                recogniser=recogniser,
                detector=detector,
                language=clip.language,
                partials=partials,
                context=context,
            )
            spent_s = time.process_time() - start
            plain = heard.text if condition == NOTHING else plain
            yield _judge(clip, condition, heard.text, plain, given, spent_s, material)
    print(file=sys.stderr)


def _judge(
    clip: Clip,
    condition: str,
    text: str,
    plain: str,
    given: tuple[str, ...],
    cpu_s: float,
    material: Material,
) -> Outcome:
    code, reference = clip.language or "en", clip.reference or ""
    score = score_terms(reference, text, code, material.terms.get(str(clip.path), ()))
    expected = written(given, reference, code) | written(given, plain, code)
    leaks = frozenset(written(given, text, code) - expected)
    return Outcome(clip, condition, text, score, given, leaks, cpu_s)


def report(outcomes: Sequence[Outcome]) -> str:
    """The tables, as Markdown."""
    spoken = [o for o in outcomes if o.clip.has_speech]
    conditions = [c for c in CONDITIONS if any(o.condition == c for o in outcomes)]
    parts = [machine_line()]
    if spoken:
        parts += [_by_condition(outcomes, conditions), _by_language(spoken, conditions)]
    else:
        parts.append(_by_condition(outcomes, conditions))
    return "\n\n".join(parts)


def as_json(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Everything that was measured, clip by clip."""
    return [
        {
            "path": str(o.clip.path),
            "lang": o.clip.lang,
            "context": o.condition,
            "reference": o.clip.reference,
            "text": o.text,
            "terms": o.score.terms,
            "heard": o.score.heard,
            "others": o.score.others,
            "other_errors": o.score.other_errors,
            "leaks": sorted(o.leaks),
            "cpu_s": round(o.cpu_s, 3),
        }
        for o in outcomes
    ]


def _by_condition(outcomes: Sequence[Outcome], conditions: Sequence[str]) -> str:
    header = ["context", "terms said", "recalled %", "other units", "wrong %", "leaks",
              "words in no speech", "CPU s"]  # fmt: skip
    rows: list[list[object]] = []
    for condition in conditions:
        group = [o for o in outcomes if o.condition == condition]
        total = sum((o.score for o in group), TermScore())
        invented = sum(count_words(o.text) for o in group if not o.clip.has_speech)
        leaks = sum(len(o.leaks) for o in group)
        rows.append([condition, total.terms, _percent(total.heard, total.terms), total.others,
                     _percent(total.other_errors, total.others), leaks, invented,
                     round(sum(o.cpu_s for o in group))])  # fmt: skip
    return format_table(header, rows)


def _by_language(outcomes: Sequence[Outcome], conditions: Sequence[str]) -> str:
    header = ["lang", "clips", "terms", *(f"{c} %" for c in conditions)]
    rows: list[list[object]] = []
    for lang in sorted({o.clip.lang for o in outcomes}):
        scores = [
            [o.score for o in outcomes if o.clip.lang == lang and o.condition == condition]
            for condition in conditions
        ]
        totals = [sum(each, TermScore()) for each in scores]
        recalled = [_percent(total.heard, total.terms) for total in totals]
        rows.append([lang, len(scores[0]), totals[0].terms, *recalled])
    return format_table(header, rows)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else "–"
