"""Events become utterances: what is over, in order, and what is being said."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oyez.client.events import Event, Failed, Final, Interim, Started, Stopped


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn. Times are audio time; None where the server told none."""

    start_s: float | None = None
    end_s: float | None = None
    text: str = ""
    """What will not change any more."""
    tentative: str = ""
    """What follows it for now."""
    language: str = ""
    emotion: str = ""
    failure: str | None = None
    """Why it could not be recognised; `text` is then what was confirmed of it."""


class Captions:
    """Utterances by item, as a session's events tell of them."""

    def __init__(self) -> None:
        self._open: dict[str, Utterance] = {}

    @property
    def current(self) -> list[Utterance]:
        """Those that are not over, in the order they began: the last one goes on, others wait for
        their finals."""
        return list(self._open.values())

    @property
    def unanswered(self) -> list[Utterance]:
        """The words of those that are not over, for when no final comes any more."""
        return [
            replace(each, text=f"{each.text}{each.tentative} …", tentative="")
            for each in self.current
            if each.text or each.tentative
        ]

    def take(self, event: Event) -> Utterance | None:
        """The utterance that is over with this event, if one is. It may be without words."""
        match event:
            case Started(item_id, start_ms):
                self._change(item_id, start_s=start_ms / 1000)
            case Stopped(item_id, end_ms):
                self._change(item_id, end_s=end_ms / 1000)
            case Interim(item_id, text, stash, language, emotion):
                self._change(
                    item_id, text=text, tentative=stash, language=language, emotion=emotion
                )
            case Final(item_id, transcript, language, emotion):
                self._change(
                    item_id, text=transcript, tentative="", language=language, emotion=emotion
                )
                return self._open.pop(item_id)
            case Failed(item_id, error):
                self._change(item_id, tentative="", failure=error.message or "not recognised")
                return self._open.pop(item_id)
            case _:
                pass
        return None

    def _change(self, item_id: str, **values: object) -> None:
        known = self._open.get(item_id, Utterance())
        self._open[item_id] = replace(known, **values)  # type: ignore[arg-type]
