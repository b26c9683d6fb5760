from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.engines.whisper_onnx.phrase_boost import (
    BONUS,
    FIRST_BONUS,
    MAX_BONUS,
    MAX_NODES,
    NO_TERMS,
    START,
    PhraseBoost,
    TermTree,
)

TERM = (1, 2, 3)
WORTH = min(MAX_BONUS, FIRST_BONUS + 2 * BONUS)
TREE = TermTree([TERM, (1, 2, 3, 4, 5), (7,)])


def gain(tree: TermTree, *tokens: int) -> float:
    state = START
    for token in tokens:
        state = tree.step(state, token)
    return tree.final_bonus(state)


def test_a_whole_term_keeps_its_bonus() -> None:
    assert gain(TREE, *TERM) == WORTH
    assert gain(TREE, 9, *TERM, 9) == WORTH
    assert gain(TREE, 7) == FIRST_BONUS


def test_what_breaks_off_gains_nothing() -> None:
    assert gain(TREE, 1, 2) == 0
    assert gain(TREE, 1, 2, 9) == 0
    assert gain(TREE, 2, 3) == 0


def test_a_bonus_is_lent_while_a_term_is_written() -> None:
    assert TREE.step(START, 1).bonus == FIRST_BONUS
    assert TREE.step(TREE.step(START, 1), 2).bonus == FIRST_BONUS + BONUS


def test_a_term_may_begin_where_another_breaks_off() -> None:
    assert gain(TREE, 1, 2, *TERM) == gain(TREE, *TERM)
    assert gain(TREE, *TERM, *TERM, 9) == 2 * gain(TREE, *TERM)


def test_a_long_term_gains_no_more_than_the_most() -> None:
    assert gain(TermTree([range(50)]), *range(50)) == MAX_BONUS


def test_text_that_is_given_gains_nothing_but_may_be_within_a_term() -> None:
    state = TREE.after((9, *TERM, 1, 2))
    assert TREE.final_bonus(state) == 0
    assert TREE.final_bonus(TREE.step(state, 3)) == gain(TREE, *TERM)


def test_without_terms_nothing_is_gained() -> None:
    assert not NO_TERMS
    assert gain(NO_TERMS, 1, 2, 3) == 0


def test_a_tree_is_bounded() -> None:
    tree = TermTree([(token, token + 1) for token in range(MAX_NODES)])
    assert len(tree) == MAX_NODES
    assert gain(tree, 0, 1) > 0


tokens = st.integers(0, 4)


@given(st.lists(st.lists(tokens, max_size=4), max_size=8), st.lists(tokens, max_size=20))
def test_nobody_gains_more_than_whole_terms_are_worth(
    terms: list[list[int]], text: list[int]
) -> None:
    tree = TermTree(terms)
    assert 0 <= gain(tree, *text) <= len(text) * max(FIRST_BONUS, BONUS)
    written = any(
        text[at : at + len(term)] == term for term in terms if term for at in range(len(text))
    )
    assert written or gain(tree, *text) == 0


class Letters:
    """A tokenizer of one token a character."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, text: str) -> list[int]:
        self.texts.append(text)
        return [ord(char) for char in text]


def spelled(tree: TermTree, text: str) -> bool:
    return gain(tree, *map(ord, text)) > 0


@pytest.fixture
def letters() -> Any:
    return Letters()


def test_terms_are_expected_after_a_space_and_at_the_start_of_a_sentence(letters: Any) -> None:
    tree = PhraseBoost(letters).tree("oyez, WIZARD, NATO", spaces=True)
    assert spelled(tree, " oyez") and spelled(tree, " Oyez")
    assert spelled(tree, " WIZARD") and spelled(tree, " Wizard") and spelled(tree, " wizard")
    assert spelled(tree, " NATO") and not spelled(tree, " Nato")
    assert not spelled(tree, "oyez")


def test_languages_without_spaces_expect_none(letters: Any) -> None:
    tree = PhraseBoost(letters).tree("通义千问, Qwen", spaces=False)
    assert spelled(tree, "通义千问") and " 通义千问" not in letters.texts
    assert spelled(tree, "Qwen") and spelled(tree, " Qwen")


def test_a_name_of_several_words_may_be_shortened(letters: Any) -> None:
    assert spelled(PhraseBoost(letters).tree("Jarvis Lorry", spaces=True), " Lorry")


def test_the_tree_of_a_context_is_built_once(letters: Any) -> None:
    trees = PhraseBoost(letters)
    first = trees.tree("Defarge", spaces=True)
    count = len(letters.texts)
    assert trees.tree("Defarge", spaces=True) is first
    assert len(letters.texts) == count
