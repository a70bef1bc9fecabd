"""Everything that ``normbench check-norm`` tells of a norm of the user's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from normbench.calibration.timing import TimingTask, time_cells
from normbench.calibration.trial import why_not_stacked
from normbench.catalog.target import use_root
from normbench.catalog.target_name import parsed
from normbench.conformance.norms import Finding, examine
from normbench.conformance.subject import SHAPES, of_target
from normbench.errors import NormbenchError, UsageError
from normbench.norms import trial
from normbench.place import told
from normbench.plan.code import fingerprints_of
from normbench.plan.edited import check_code
from normbench.plan.expand import expand
from normbench.plan.spec import RunSpec
from normbench.protocol.load import parse
from normbench.training.data import prepare

#: Seconds that comparing the speed takes, about, and what is trained for it.
_SECONDS = 3.0
_MODELS = {1: "mlp", 3: "small-cnn"}
_BATCH = 32


@dataclass(frozen=True)
class Examination:
    """What the checks found, and what was found by trying a norm in a small network.

    ``unfit`` says which kinds of samples it is not for, and why. ``alone`` says why its runs cannot
    be trained together, and is empty where they can; ``untried`` why that and the speed could not
    be found out. ``step_seconds`` and ``batch_seconds`` are the medians of a training step of
    ``model`` with it, and with batch norm.
    """

    norm: str
    findings: list[Finding]
    stateless: bool | None = None
    batch_independent: bool | None = None
    unfit: dict[str, str] = field(default_factory=dict)
    alone: str = ""
    untried: str = ""
    model: str = ""
    step_seconds: float | None = None
    batch_seconds: float | None = None

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(one.state != "failed" for one in self.findings)

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return {"passed": self.passed, **asdict(self)}


def examine_target(text: str, args: Mapping[str, Any]) -> Examination:
    """Examine a norm by its target; a file is given relative to the present folder, or absolute.

    Raises :class:`UsageError` where there is no such target.
    """
    root, name = _placed(text)
    use_root(str(root))
    subject = of_target(name, args)
    findings = examine(subject)
    shapes = subject.shapes() if all(f.state == "passed" for f in findings[:2]) else []
    if not shapes:
        return Examination(name, findings, untried="it must pass the first checks for that")
    kinds: dict[str, Any] = {
        "unfit": {
            kind: subject.unfit(shape)
            for kind, shape in zip(("vectors", "images"), SHAPES, strict=True)
            if shape not in shapes
        }
    }
    model = _MODELS[len(shapes[-1])]
    try:
        make = partial(subject.build, shapes[-1])
        kinds["stateless"] = trial.stateless(make, shapes[-1])
        kinds["batch_independent"] = trial.batch_independent(make, shapes[-1])
        batch, own = _runs(root, name, args, model)
        check_code(own)
        alone = why_not_stacked(own, prepare(own.cell))
        rows = time_cells(TimingTask((batch, own), "cpu", 1, _SECONDS))
        seconds = [
            median(row["step_seconds"] for row in rows if row["cell_hash"] == run.cell_hash)
            for run in (own, batch)
        ]
    except (NormbenchError, ValueError, RuntimeError, TypeError) as error:
        return Examination(name, findings, **kinds, untried=told(error))
    return Examination(
        name,
        findings,
        **kinds,
        alone=alone,
        model=model,
        step_seconds=seconds[0],
        batch_seconds=seconds[1],
    )


def _placed(text: str) -> tuple[Path, str]:
    """The folder that a target's file is taken from, and the target relative to it."""
    module, colon, attribute = text.rpartition(":")
    path = Path(module)
    if module.endswith(".py") and path.is_absolute():
        return path.parent, f"{path.name}:{attribute}"
    try:
        return Path.cwd(), str(parsed(text.replace(os.sep, "/") if colon else text))
    except ValueError as error:
        raise UsageError(str(error)) from None


def _runs(root: Path, target: str, args: Mapping[str, Any], model: str) -> tuple[RunSpec, RunSpec]:
    """A run of a small network with batch norm, and one with the target."""
    own = {"name": "own", "target": target, "args": dict(args)}
    document = {
        "defaults": {
            "dataset": "digits", "model": model, "batch_size": _BATCH, "learning_rate": 0.05,
            "epochs": 1,
        },
        "experiment": [{"name": "check", "seeds": 1, "product": {"norm": ["batch", own]}}],
    }  # fmt: skip
    study = parse(document, "check-norm", "check-norm")
    study = study.model_copy(update={"file": str(root / "check-norm")})
    batch, mine = expand(study, None, fingerprints_of(study))
    return batch, mine
