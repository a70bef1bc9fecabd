"""Claims with their cells found: what is registered, stored and judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    model_validator,
)

from normbench.protocol.claims import ITSELF, ClaimEndpoint, Evaluation, Kind, Verdict
from normbench.protocol.schema import AXES


class Hypothesis(BaseModel):
    """One tested statement: cells of an experiment by their position, side by side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    a: tuple[int, ...]
    b: tuple[int, ...]
    batch_sizes: tuple[int, ...]


class ResolvedClaim(BaseModel):
    """A claim with its cells found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    family: str
    kind: Kind
    experiment: str
    a_label: str
    b_label: str
    #: What each side sets, as ``a_label`` and ``b_label`` say it; None in older results.
    a_axes: dict[str, str] | None = None
    b_axes: dict[str, str] | None = None
    a_evaluation: Evaluation
    b_evaluation: Evaluation
    endpoint: ClaimEndpoint
    margin: float
    expect: Verdict | None
    chapter: str
    text: str
    hypotheses: tuple[Hypothesis, ...]

    def hypothesis(self, name: str) -> Hypothesis:
        """The hypothesis of that name."""
        return next(h for h in self.hypotheses if h.name == name)

    @property
    def itself(self) -> bool:
        """Whether the rival is the side itself at another batch size."""
        return self.b_label == ITSELF

    @model_validator(mode="after")
    def _older(self) -> ResolvedClaim:
        for axes, label, evaluation in (
            ("a_axes", self.a_label, self.a_evaluation),
            ("b_axes", self.b_label, self.b_evaluation),
        ):
            if getattr(self, axes) is None:
                object.__setattr__(self, axes, _axes_of(label, evaluation))
        return self


class ResolvedFamily(BaseModel):
    """A family with its method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    method: Literal["max-t", "holm"]


def given_axes(side: BaseModel | None, document: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """The axes that a side sets: a component by its bare name as text, else its value.

    A bare name matches every variant of the component; a table matches exactly.
    """
    if side is None:
        return {}
    raw: Mapping[str, Any] = {"norm": document} if isinstance(document, str) else document or {}
    values: dict[str, Any] = {}
    for axis in AXES:
        value = getattr(side, axis)
        if value is not None:
            bare = isinstance(raw.get(axis), str) and hasattr(value, "label")
            values[axis] = raw[axis] if bare else value
    return values


def side_axes(axes: Mapping[str, Any]) -> dict[str, str]:
    """What a side sets, each value as a text."""
    found = {}
    for axis, value in axes.items():
        found[axis] = value.label if hasattr(value, "label") else str(value)
        if isinstance(value, tuple):
            found[axis] = " ".join(map(str, value)) or "none"
    return found


def side_label(axes: Mapping[str, str], evaluation: str) -> str:
    """A side in a few words."""
    parts = [text if axis == "norm" else f"{axis}={text}" for axis, text in axes.items()]
    label = ", ".join(parts) or "all"
    return label if evaluation == "running" else f"{label}{_statistics(evaluation)}"


def _statistics(evaluation: str) -> str:
    return f" ({evaluation} statistics)"


def _axes_of(label: str, evaluation: str) -> dict[str, str]:
    """What a side sets, from its label: results of before it was stored have nothing else.

    Axes come in the order of ``AXES``, each with its name but for the norm; a comma within a value
    stands in brackets.
    """
    if label in (ITSELF, "all"):
        return {}
    parts, depth, start = [], 0, 0
    label = label if evaluation == "running" else label.removesuffix(_statistics(evaluation))
    for place, sign in enumerate(label):
        depth += (sign in "([{") - (sign in ")]}")
        if depth == 0 and label[place : place + 2] == ", ":
            parts.append(label[start:place])
            start = place + 2
    found = {}
    for part in [*parts, label[start:]]:
        axis, sign, value = part.partition("=")
        found.update({axis: value} if sign and axis in AXES else {"norm": part})
    return found
