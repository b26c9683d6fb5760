"""Context biasing: a request's context becomes a prefix tree of terms, whose tokens get a bonus
while decoding.

Terms are names and words that the speaker may use. A line of the context that consists mostly of
short parts (separated by commas, semicolons, brackets or other marks) is a list, and each short
part is a term. Any other line is prose. In prose, only long words and words that look like names
are terms, because biasing towards common words such as "of" is useless.

A hypothesis gets a bonus for each token that continues a term. It keeps the bonus when the term is
complete, and loses it when the term breaks off, so that text which merely begins like a term gains
nothing (shallow fusion; Zhao et al. 2019, "Shallow-Fusion End-to-End Contextual Biasing").
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from oyez.engines.whisper.tokens import Tokens

logger = logging.getLogger(__name__)

FIRST_BONUS = 2.0
"""Bonus for the first token of a term, added to its log probability."""
BONUS = 4.0
"""Bonus for each further token of a term."""
MAX_BONUS = 8.0
"""Largest bonus for a whole term."""
MAX_NODES = 12_000
"""Most nodes of one tree, which takes about 3 MB. Terms that do not fit are left out."""
MAX_CONTINUATIONS = 50
"""How many tokens that continue a term are scored for each hypothesis, besides the likeliest
tokens."""
MAX_TREES = 64
"""How many trees are cached, one for each context."""

MAX_TERMS = 1_000
"""Only the first terms of a context are used, up to this number."""
MAX_LIST_WORDS = 4
"""Most words of a short part."""
MAX_LIST_WIDE = 12
"""Most characters of scripts without spaces in a short part."""
MAX_TERM_CHARS = 50
"""Most characters of a short part."""
LONG_LETTERS = 8
"""Words of prose with at least this many letters are terms."""
MAX_ABBREVIATION_LETTERS = 4
"""A longer word in capitals is not taken for an abbreviation, so lower case is boosted as well."""

_ROOT = 0
_TOKEN_BITS = 20
_FIRST_SPACELESS = "\u0e00"
"""The first character of Thai. It is the first script without spaces between words in the order of
code points; all others have higher code points."""
_LINES = re.compile(r"[\r\n]+")
_PARTS = re.compile(
    r"""[,;:|/•·…!?¡¿()\[\]{}<>"“”„«»，、；：。！？（）【】「」『』《》،؛؟।\t]+"""
    r"|(?<!\b[A-Z])(?<!\b[A-Z][a-z])(?<!\b[A-Z][a-z]{2})\.+(?=\s|$)"
    r"|\s[-–—*]+\s|^\s*[-–—*]+\s"
)
"""Separators of parts: marks, full stops except those of abbreviations such as "Dr." and "J.", and
dashes between words."""
_QUOTED = re.compile(r"[“\"「『《«„]([^”\"」』》»“]{2,50})[”\"」』》»“]")
_WIDE = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")
_WIDE_NAMES = re.compile(r"[ァ-ヴー]{3,}|[A-Za-z][A-Za-z0-9]{2,}")


class TermState(NamedTuple):
    """A hypothesis' position in the tree, and its bonus."""

    node: int = _ROOT
    provisional: float = 0.0
    """The part of `bonus` that is lost if the current term does not become complete."""
    bonus: float = 0.0


START = TermState()


class TermTree:
    """A prefix tree of terms, each a sequence of tokens."""

    def __init__(self, terms: Iterable[Sequence[int]] = ()) -> None:
        self._children: dict[int, int] = {}
        self._continuations: dict[int, list[int]] = {}
        self._complete: set[int] = set()
        for term in terms:
            if term and len(self._children) + len(term) <= MAX_NODES:
                self._add(term)

    def __len__(self) -> int:
        """Return the number of nodes without the root."""
        return len(self._children)

    def step(self, state: TermState, token: int) -> TermState:
        """Return the state after one more token."""
        child = self._child(state.node, token)
        if child and state.node != _ROOT:
            more = min(BONUS, MAX_BONUS - state.provisional)
            return TermState(child, state.provisional + more, state.bonus + more)
        bonus = self.final_bonus(state)
        if first := self._child(_ROOT, token):
            return TermState(first, FIRST_BONUS, bonus + FIRST_BONUS)
        return TermState(bonus=bonus)

    def continuations(self, state: TermState) -> list[int]:
        """Return tokens that continue the current term, at most MAX_CONTINUATIONS."""
        return self._continuations.get(state.node, [])[:MAX_CONTINUATIONS]

    def after(self, tokens: Iterable[int]) -> TermState:
        """Return the state after given text. Complete terms in that text bring no bonus."""
        state = START
        for token in tokens:
            state = self.step(state, token)
        return TermState(state.node, state.provisional, state.provisional)

    def final_bonus(self, state: TermState) -> float:
        """Return the bonus of a hypothesis that ends here or continues with something else."""
        return state.bonus if state.node in self._complete else state.bonus - state.provisional

    def _add(self, term: Sequence[int]) -> None:
        node = _ROOT
        for token in term:
            key = node << _TOKEN_BITS | token
            if key not in self._children:
                self._children[key] = len(self) + 1
                if node != _ROOT:
                    self._continuations.setdefault(node, []).append(token)
            node = self._children[key]
        self._complete.add(node)

    def _child(self, node: int, token: int) -> int:
        return self._children.get(node << _TOKEN_BITS | token, _ROOT)


NO_TERMS = TermTree()


class PhraseBoost:
    """Builds the tree for a context, and caches it. Thread-safe."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self.tree = lru_cache(MAX_TREES)(self._tree)

    def _tree(self, context: str, *, spaces: bool) -> TermTree:
        """Return the tree of a context's terms. spaces: whether the language is written with spaces
        between words."""
        terms = terms_of(context)
        tree = TermTree(map(self._tokens.encode, self._forms(terms, spaces)))
        logger.debug("context: %d terms, %d nodes", len(terms), len(tree))
        return tree

    def _forms(self, terms: Sequence[str], spaces: bool) -> Iterator[str]:
        """Yield the spellings of all terms, and then of the rare words in them."""
        words = (word for term in terms if " " in term for word in term.split())
        rare = (word for word in words if len(self._tokens.encode(" " + word)) > 1)
        for term in dict.fromkeys((*terms, *rare)):
            for form in _cases(term):
                if spaces or form < _FIRST_SPACELESS:
                    yield " " + form
                if not spaces:
                    yield form


def _cases(term: str) -> Iterable[str]:
    """Return the term as given and as at the start of a sentence, and a long word in capitals also
    in lower case."""
    cases = [term, term[0].upper() + term[1:]]
    if term.isupper() and len(term) > MAX_ABBREVIATION_LETTERS:
        cases += [term.lower(), term.capitalize()]
    return dict.fromkeys(cases)


def terms_of(context: str) -> list[str]:
    """Return the terms of `context` in order, at most MAX_TERMS. Terms that differ only in case are
    returned once."""
    found: dict[str, str] = {}
    terms = (term for line in _LINES.split(context) for term in _terms_of_line(line))
    for term in terms:
        found.setdefault(term.casefold(), term)
        if len(found) == MAX_TERMS:
            break
    return list(found.values())


def _terms_of_line(line: str) -> Iterator[str]:
    parts = [" ".join(part.split()) for part in _PARTS.split(line)]
    in_long_parts = sum(len(part) for part in parts if _is_long(part))
    is_prose = 2 * in_long_parts > sum(len(part) for part in parts)
    if is_prose:
        yield from (quoted for quoted in _QUOTED.findall(line) if not _is_long(quoted))
    for part in parts:
        if is_prose or _is_long(part):
            yield from _names(part)
        elif _has_letters(part):
            yield part


def _is_long(part: str) -> bool:
    words, wide = len(part.split()), len(_WIDE.findall(part))
    return words > MAX_LIST_WORDS or wide > MAX_LIST_WIDE or len(part) > MAX_TERM_CHARS


def _names(part: str) -> Iterator[str]:
    """Yield the words of prose that are long or look like names."""
    if _WIDE.search(part):
        yield from _WIDE_NAMES.findall(part)
        return
    for index, raw in enumerate(part.split()):
        word = raw.strip("'’-.")
        if not _has_letters(word):
            continue
        capital = word[0].isupper() and index > 0 and len(word) > 1
        mixed = word[1:] != word[1:].lower() or any(char.isdigit() for char in word)
        if capital or mixed or len(word) >= LONG_LETTERS:
            yield word


def _has_letters(text: str) -> bool:
    return any(char.isalpha() for char in text)
