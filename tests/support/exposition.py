"""What `/metrics` answers, taken apart; and the selectors of PromQL that ask for it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

ADDED = {"job", "instance"}
"""Labels that Prometheus adds."""


@dataclass(frozen=True)
class Selector:
    """`name{label="value", …}` in a query."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]
    """Label, operator, value."""

    def __str__(self) -> str:
        shown = ", ".join(f'{label}{operator}"{value}"' for label, operator, value in self.matchers)
        return f"{self.name}{{{shown}}}"


class Exposition:
    """Every series, by the name that a query uses."""

    def __init__(self, text: str) -> None:
        self.families: set[str] = set()
        self.series: dict[str, list[dict[str, str]]] = {}
        for family in text_string_to_metric_families(text):
            counts = family.type == "counter"
            self.families.add(f"{family.name}_total" if counts else family.name)
            for sample in family.samples:
                self.series.setdefault(sample.name, []).append(sample.labels)

    def labels(self, family: str) -> set[str]:
        """Of its series, without the bounds of buckets."""
        names = (family, f"{family}_bucket")
        found = [labels for name in names for labels in self.series.get(name, [])]
        return {label for labels in found for label in labels} - {"le"}

    def answers(self, selector: Selector) -> bool:
        """Whether it has a series that the selector asks for."""
        wanted = [matcher for matcher in selector.matchers if matcher[0] not in ADDED]
        return any(
            all(_matches(labels.get(label), *rest) for label, *rest in wanted)
            for labels in self.series.get(selector.name, [])
        )


def selectors(query: str) -> list[Selector]:
    """Of metrics of oyez and of its process."""
    found = re.findall(r"\b((?:oyez|process|python)_\w+)(?:\{([^}]*)\})?", query)
    return [
        Selector(name, tuple(re.findall(r'(\w+)(=~|!=|!~|=)"([^"]*)"', inside)))
        for name, inside in found
    ]


def _matches(value: str | None, operator: str, wanted: str) -> bool:
    if value is None:
        return False
    same = bool(re.fullmatch(wanted, value)) if "~" in operator else value == wanted
    return same if "!" not in operator else not same
