"""Faults that an error rate hides: sentences left out, and the same words again and again."""

from __future__ import annotations

from dataclasses import dataclass

import jiwer

from oyez.bench.scoring import BY_CHARACTER, normalise

LEFT_OUT_WORDS = 5
LEFT_OUT_CHARACTERS = 10
"""So many in a row that were said and not written are a sentence left out."""
LOOP_ROUNDS = 3
LOOP_LETTERS = 4
"""Words of so many letters said so often in a row are a loop; "no, no, no" is not."""
LONGEST_LOOP = 12


@dataclass(frozen=True, slots=True)
class Faults:
    left_out: int = 0
    """Stretches of the reference that are missing."""
    loops: int = 0
    """Texts that repeat themselves."""

    def __add__(self, other: Faults) -> Faults:
        return Faults(self.left_out + other.left_out, self.loops + other.loops)


def find_faults(reference: str, hypothesis: str, language: str) -> Faults:
    """Of one text in one of LANGUAGES. Without a reference nothing is known to be left out."""
    said, heard = normalise(reference, language), normalise(hypothesis, language)
    return Faults(_left_out(said, heard, language), int(_loops(heard, language)))


def _left_out(said: str, heard: str, language: str) -> int:
    if not said:
        return 0
    if language in BY_CHARACTER:
        least, (said, heard) = LEFT_OUT_CHARACTERS, (said.replace(" ", ""), heard.replace(" ", ""))
        (chunks,) = jiwer.process_characters(said, heard).alignments
    else:
        least = LEFT_OUT_WORDS
        (chunks,) = jiwer.process_words(said, heard).alignments
    runs = (c.ref_end_idx - c.ref_start_idx for c in chunks if c.type == "delete")
    return sum(run >= least for run in runs)


def _loops(heard: str, language: str) -> bool:
    units = list(heard.replace(" ", "")) if language in BY_CHARACTER else heard.split()
    for start in range(len(units)):
        for length in range(1, min(LONGEST_LOOP, (len(units) - start) // LOOP_ROUNDS) + 1):
            once = units[start : start + length]
            again = units[start : start + length * LOOP_ROUNDS]
            if again == once * LOOP_ROUNDS and len("".join(once)) >= LOOP_LETTERS:
                return True
    return False
