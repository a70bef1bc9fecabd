"""What a worker is asked to do about runs, and what it gives back: values that load no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from normbench.datasets.content import Content
from normbench.plan.execution import PLAIN, EngineSpec
from normbench.plan.spec import RunSpec


@dataclass(frozen=True)
class Group:
    """Runs that are handed to one worker and committed together."""

    name: str
    runs: tuple[RunSpec, ...]
    device: str
    execution_hash: str
    engine: EngineSpec = PLAIN
    #: Seconds of a worker that its steps were measured to take, where they were.
    seconds: float | None = None
    #: Digests of the data sets (by name with parameters) that the runs are to be trained on.
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass
class GroupRows:
    """The rows that a group gives to each table, without the axes, keyed by run."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    probes: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Checked:
    """What was found when a cell was checked, why, and what its data hold and leave out.

    ``missing`` data are not on this machine, a ``misfit`` has values that do not fit each other,
    an ``undefined`` cell has no meaning, and of one that ``failed`` a component of another package
    raised. ``warnings`` are what people should know of a network of their own.
    """

    kind: Literal["sound", "undefined", "missing", "misfit", "failed"]
    why: str = ""
    content: dict[str, Content] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
