"""A small part of what `campaign.py` does, and the inputs that coverage-guided fuzzing has kept."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from support.fuzz_targets import TARGETS, mutated

CORPUS = Path(__file__).parent / "corpus"
INPUTS = {"messages": 300, "form": 60, "opus": 100, "pcm": 40}
OTHERS = 500
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of aiohttp, about forms


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_inputs(target: str) -> None:
    dice = random.Random(target)
    for _ in range(INPUTS.get(target, OTHERS)):
        TARGETS[target](mutated(target, dice))


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus(target: str) -> None:
    for path in sorted((CORPUS / target).iterdir()):
        TARGETS[target](path.read_bytes())
