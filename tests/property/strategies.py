"""Ways to cut and to spoil what arrives."""

from __future__ import annotations

from itertools import pairwise
from typing import TypeVar

from hypothesis import strategies as st

Sliceable = TypeVar("Sliceable")


@st.composite
def cuts(draw: st.DrawFn, length: int, max_cuts: int = 40) -> list[slice]:
    """Neighbouring slices that cover 0…length, some of them empty."""
    places = draw(st.lists(st.integers(0, length), max_size=max_cuts))
    return [slice(a, b) for a, b in pairwise(sorted([0, *places, length]))]


@st.composite
def spoiled(draw: st.DrawFn, data: bytes, kept_bytes: int) -> bytes:
    """`data` with some bytes overwritten, removed, or put in behind the first `kept_bytes`."""
    for place, removed, put_in in draw(
        st.lists(
            st.tuples(
                st.integers(kept_bytes, len(data)), st.integers(0, 300), st.binary(max_size=300)
            ),
            max_size=5,
        )
    ):
        data = data[:place] + put_in + data[place + removed :]
    return data
