"""The one result type of the package: numbers together with what they mean.

A result always holds the effect and every seed's value, so that no p-value travels
alone. Data that cannot decide give a result whose ``refusal`` says why, without p.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from textwrap import wrap
from typing import Literal

#: What a caveat is about.
CaveatKind = Literal[
    "fragile", "diverged", "skewed", "ties", "drawn-signs", "open-below", "open-above",
    "no-crossing", "test-set-noise", "seeds-left-out", "own-seeds", "window", "at-chance",
    "provisional", "few-seeds",
]  # fmt: skip
Detail = float | int | bool | str | None | tuple[float, ...] | tuple[str, ...]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Caveat:
    """What a reader must know before using a number: what it is about, and a sentence on it."""

    kind: CaveatKind
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Result:
    """What one procedure found.

    Attributes:
        name: the procedure.
        estimand: a sentence: which quantity, in which direction, in which unit.
        estimate: its estimate; NaN if there is none.
        interval: (low, high), closed; None if refused or not offered.
        level: confidence level of ``interval``.
        p: p-value against the null that the estimand names; None if refused or not offered.
        n: number of seeds.
        values: one value per seed, in the order given.
        assumptions: what must hold for p and interval to be right.
        warnings: what a reader must know before using the numbers.
        refusal: why there is no p and no interval; None if there is no refusal.
        details: further numbers by name; a pair under ``..._interval`` is (low, high).
    """

    name: str
    estimand: str
    estimate: float
    interval: Interval | None
    level: float | None
    p: float | None
    n: int
    values: tuple[float, ...] = ()
    assumptions: tuple[str, ...] = ()
    warnings: tuple[Caveat, ...] = ()
    refusal: str | None = None
    details: Mapping[str, Detail] = field(default_factory=dict, hash=False)

    def excludes(self, value: float) -> bool:
        """Tell whether the interval exists and leaves ``value`` outside; an end is inside."""
        if self.interval is None:
            return False
        low, high = self.interval
        return not low <= value <= high

    def rows(self) -> list[tuple[str, str]]:
        """Return (label, text) pairs in reading order, the content of both printed forms."""
        rows = [("estimand", self.estimand), ("estimate", number(self.estimate))]
        if self.interval is not None and self.level is not None:
            note = self.details.get("interval_note")
            text = span(self.interval) + (f" ({note})" if note else "")
            rows.append((f"{100 * self.level:.4g} % interval", text))
        if self.p is not None:
            rows.append(("p", p_text(self.p)))
        rows.append(("n", str(self.n)))
        if self.values:
            rows.append(("values", " ".join(number(v) for v in self.values)))
        for key, value in self.details.items():
            if key != "interval_note" and value is not None:
                rows.append((key.replace("_", " "), _detail(key, value)))
        if self.refusal is not None:
            rows.append(("refused", self.refusal))
        rows.extend(("warning", str(caveat)) for caveat in self.warnings)
        rows.extend(("assumes", text) for text in self.assumptions)
        return rows

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(label) for label, _ in rows)
        lines = [self.name]
        for label, text in rows:
            parts = wrap(text, 88 - width) or [""]
            lines.append(f"  {label:<{width}}  {parts[0]}")
            lines.extend(f"  {'':<{width}}  {part}" for part in parts[1:])
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        body = "".join(
            f'<tr><th scope="row">{escape(label)}</th><td>{escape(text)}</td></tr>'
            for label, text in self.rows()
        )
        return f"<table><caption>{escape(self.name)}</caption><tbody>{body}</tbody></table>"


def number(value: float) -> str:
    """Write a number for a reader: four significant digits, words for what is not finite."""
    if value != value:
        return "none"
    if value in (float("inf"), float("-inf")):
        return "∞" if value > 0 else "−∞"
    return f"{value:.4g}"


def span(interval: tuple[float, ...]) -> str:
    """Write an interval as "low to high"."""
    return " to ".join(number(end) for end in interval)


def p_text(p: float) -> str:
    """Write a p-value: three significant digits, never rounded down to 0."""
    return "< 1e-6" if p < 1e-6 else f"{p:.3g}"


def _detail(key: str, value: Detail) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        if key.endswith("interval") and len(value) == 2:
            return " to ".join(_detail("", end) for end in value)
        return " ".join(_detail("", item) for item in value)
    return value if isinstance(value, str) else number(float(value or 0.0))
