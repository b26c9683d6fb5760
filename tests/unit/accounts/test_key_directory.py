from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

import pytest

from oyez.accounts.keys import Key
from support.keys import FakeDirectory, a_key


class Watched(Sequence[Key]):
    """Keys that look up, whenever they are iterated over, what others would find."""

    def __init__(self, directory: FakeDirectory, key: Key) -> None:
        self._directory = directory
        self._key = key
        self.seen: set[tuple[bool, bool]] = set()

    def __len__(self) -> int:
        return 1

    @overload
    def __getitem__(self, index: int) -> Key: ...
    @overload
    def __getitem__(self, index: slice) -> list[Key]: ...
    def __getitem__(self, index: int | slice) -> Key | list[Key]:
        return [self._key][index]

    def __iter__(self) -> Iterator[Key]:
        self.look()
        yield self._key
        self.look()

    def look(self) -> None:
        found = self._directory.find("new")
        self.seen.add((found is not None, self._directory.get(self._key.id) is not None))


def test_a_new_key_is_known_by_itself_and_by_its_id_at_the_same_time() -> None:
    directory = FakeDirectory()
    keys = Watched(directory, a_key("new"))
    directory._replace(keys)
    keys.look()
    assert keys.seen == {(False, False), (True, True)}


@pytest.mark.parametrize("count", [0, 1])
def test_a_key_that_was_ever_made_counts_as_one(count: int) -> None:
    assert FakeDirectory(*[a_key("a")] * count).has_any() == bool(count)
