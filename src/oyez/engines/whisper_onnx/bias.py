"""Context biasing: a prefix tree of the terms that the search prefers.

A hypothesis is lent a bonus for every token that continues a term. It keeps the bonus once the
term is whole and gives it back if the term breaks off, so that what merely begins like a term
gains nothing (shallow fusion; Zhao et al. 2019, "Shallow-Fusion End-to-End Contextual
Biasing").
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from oyez.engines.terms import terms_of
from oyez.engines.whisper_onnx.tokens import Tokens

logger = logging.getLogger(__name__)

FIRST_BONUS = 2.0
BONUS = 4.0
MAX_BONUS = 8.0
"""For a term's first token, for each further one, and for a term altogether, in logarithms of
probabilities."""
MAX_NODES = 12_000
"""Of one tree: about 3 MB. Terms that do not fit any more are left out."""
MAX_FOLLOWING = 50
"""Tokens that are looked for beyond the likeliest ones, per hypothesis within a term."""
MAX_TREES = 64
"""Contexts whose trees are kept."""

MAX_ABBREVIATION = 4
"""Letters: longer words in capitals are taken for shouted ones."""

_ROOT = 0
_TOKEN_BITS = 20
_WIDE = "\u0e00"
"""The first script without spaces between words: Thai; all others have higher code points."""


class State(NamedTuple):
    """How far a hypothesis is in a term, and what it gained so far."""

    node: int = _ROOT
    lent: float = 0.0
    """Of `bonus`, what is given back unless the term it is in becomes whole."""
    bonus: float = 0.0


START = State()


class TermTree:
    """Terms as sequences of tokens."""

    def __init__(self, terms: Iterable[Sequence[int]] = ()) -> None:
        self._children: dict[int, int] = {}
        self._following: dict[int, list[int]] = {}
        self._whole: set[int] = set()
        for term in terms:
            if term and len(self._children) + len(term) <= MAX_NODES:
                self._add(term)

    def __len__(self) -> int:
        """Nodes, the root not counted."""
        return len(self._children)

    def step(self, state: State, token: int) -> State:
        """The state after one more token."""
        child = self._child(state.node, token)
        if child and state.node != _ROOT:
            more = min(BONUS, MAX_BONUS - state.lent)
            return State(child, state.lent + more, state.bonus + more)
        bonus = self.settled(state)
        first = self._child(_ROOT, token)
        return State(first, FIRST_BONUS, bonus + FIRST_BONUS) if first else State(bonus=bonus)

    def following(self, state: State) -> list[int]:
        """Tokens that continue the term a hypothesis is in, at most MAX_FOLLOWING."""
        return self._following.get(state.node, [])[:MAX_FOLLOWING]

    def after(self, tokens: Iterable[int]) -> State:
        """The state after a text, which has gained nothing yet."""
        state = START
        for token in tokens:
            state = self.step(state, token)
        return State(state.node, state.lent, state.lent)

    def settled(self, state: State) -> float:
        """The bonus of a hypothesis that goes on with something else, or ends: `step` with a
        token that begins no term says the same."""
        return state.bonus if state.node in self._whole else state.bonus - state.lent

    def _add(self, term: Sequence[int]) -> None:
        node = _ROOT
        for token in term:
            key = node << _TOKEN_BITS | token
            if key not in self._children:
                self._children[key] = len(self) + 1
                if node != _ROOT:
                    self._following.setdefault(node, []).append(token)
            node = self._children[key]
        self._whole.add(node)

    def _child(self, node: int, token: int) -> int:
        return self._children.get(node << _TOKEN_BITS | token, _ROOT)


NO_TERMS = TermTree()


class Trees:
    """The trees of the contexts in use, each built once."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.of = lru_cache(MAX_TREES)(self._build)

    def _build(self, context: str, spaces: bool) -> TermTree:
        """spaces: whether the language has spaces between its words."""
        terms = terms_of(context)
        encode = self._tokens.encode
        tree = TermTree(encode(form) for form in self._forms(terms, spaces))
        logger.debug("context: %d terms, %d nodes", len(terms), len(tree))
        return tree

    def _forms(self, terms: Sequence[str], spaces: bool) -> Iterator[str]:
        """Terms, and then words of them, as they may be written."""
        words = (word for term in terms if " " in term for word in term.split())
        rare = (word for word in words if len(self._tokens.encode(" " + word)) > 1)
        for term in dict.fromkeys((*terms, *rare)):
            for form in _cases(term):
                if spaces or form < _WIDE:
                    yield " " + form
                if not spaces:
                    yield form


def _cases(term: str) -> Iterable[str]:
    """As given, and at the start of a sentence; a longer word in capitals also without them."""
    cases = [term, term[0].upper() + term[1:]]
    if term.isupper() and len(term) > MAX_ABBREVIATION:
        cases += [term.lower(), term.capitalize()]
    return dict.fromkeys(cases)
