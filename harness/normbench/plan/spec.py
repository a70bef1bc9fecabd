"""A run's identity: the resolved cell, the seed, and a hash of all that decides its numbers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from normbench.catalog.fingerprints import NO_CODE, Code, Fingerprints
from normbench.plan.code import code_of
from normbench.protocol.schema import Cell

#: Raised whenever a change of the code changes the numbers that a run gives by more than rounding,
#: so that results of both are never mixed: the older runs are computed again. For the last bits
#: there is :data:`normbench.plan.execution.ENGINES_VERSION`.
NUMERICS_VERSION = 3

#: Axes that came later, and the value of each that changes nothing: with it they are no part of a
#: cell's identity, so that runs which were made before there was the axis keep theirs.
LATER: dict[str, Any] = {
    "probes": [],
    "augment": [],
    "accumulate": 1,
    "precision": "fp32",
    "norm_precision": "fp32",
    "ema": 0.0,
    "ema_buffers": "averaged",
}

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(content: Any) -> str:
    """A 16-digit hash of plain data; equal data give equal hashes on every machine."""
    return hashlib.sha256(_ENCODER.encode(content).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class RunSpec:
    """One planned run: a cell of an experiment, and a seed.

    ``phase`` is ``evaluation``, or ``tuning`` for a run that only serves to choose a learning
    rate. A run whose rate is still to be chosen has none.
    """

    experiment: str
    cell: Cell
    seed: int
    phase: str = "evaluation"
    #: The code of the cell's components of other packages: a value, the same in other processes.
    code: tuple[Code, ...] = ()
    #: The absolute folder of the protocol, where targets are found; no part of the identity.
    root: str = field(default="", compare=False)

    @cached_property
    def cell_hash(self) -> str:
        """Equal for all seeds of a cell, whatever experiment it stands in."""
        return cell_hash(self.cell, self.fingerprints)

    @property
    def fingerprints(self) -> dict[str, Code]:
        """The code by component."""
        return {code.component: code for code in self.code}

    def __reduce__(self) -> tuple[Any, ...]:
        # The parts of a cell are models made from the catalogue; other processes make their own.
        cell = self.cell.model_dump()
        return _restore, (self.experiment, cell, self.seed, self.phase, self.code, self.root)

    @cached_property
    def run_hash(self) -> str:
        """Decides whether a stored run is this one; the experiment's name does not enter."""
        # what digest makes of [cell_hash, seed], in a third of the time: there may be a million
        text = f'["{self.cell_hash}",{self.seed}]'
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def cell_hash(cell: Cell, fingerprints: Fingerprints = NO_CODE) -> str:
    """The content hash of a resolved cell, with the code of its components of other packages.

    ``fingerprints`` may hold more than the cell uses. Without such components it does not enter,
    so that cells of built-in ones keep the identity that they had before it was recorded. Every
    axis enters by its resolved value, so that a changed default is a changed cell. Only those of
    :data:`LATER` are left out where they change nothing. A new version of a data set must change
    one of its parameters, or :data:`NUMERICS_VERSION`.
    """
    dumped = cell.model_dump(mode="json")
    axes = {axis: v for axis, v in dumped.items() if axis not in LATER or v != LATER[axis]}
    content = {"numerics": NUMERICS_VERSION, "cell": axes}
    code = code_of(cell, fingerprints)
    if code:
        content["code"] = [one.record() for one in code]
    return digest(content)


def _restore(
    experiment: str,
    cell: dict[str, Any],
    seed: int,
    phase: str,
    code: tuple[Code, ...],
    root: str,
) -> RunSpec:
    return RunSpec(experiment, Cell.model_validate(cell), seed, phase, code, root)
