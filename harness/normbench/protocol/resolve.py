"""From the tables of a protocol file to its resolved form: every default explicit, faults told."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from normbench.errors import Fault
from normbench.protocol.choice import Absent
from normbench.protocol.faults import shown, toml_path
from normbench.protocol.file import ProtocolFile
from normbench.protocol.resolve_claims import resolve_claims
from normbench.protocol.resolved import ResolvedClaim, ResolvedFamily
from normbench.protocol.schema import AXES, BUDGETS, MAX_RUNS, REQUIRED_AXES, Cell
from normbench.protocol.study import Experiment, Study
from normbench.protocol.tables import ExperimentTable, Header
from normbench.protocol.windows import Windows


def _given(table: BaseModel) -> dict[str, Any]:
    """The axes that a table sets, as plain values."""
    values = {axis: getattr(table, axis) for axis in AXES}
    return {axis: value for axis, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, Absent):
        return value  # which parameters it has is not known here
    return value.model_dump() if isinstance(value, BaseModel) else value


def _combinations(experiment: ExperimentTable) -> Iterator[dict[str, Any]]:
    product, zipped = _given(experiment.product), _given(experiment.zip)
    rows = list(zip(*zipped.values(), strict=True)) if zipped else [()]
    for values in itertools.product(*product.values()):
        for row in rows:
            yield dict(zip(product, values, strict=True)) | dict(zip(zipped, row, strict=True))


def _axis_faults(
    experiment: ExperimentTable, defaults: dict[str, Any], at: list[Any]
) -> list[Fault]:
    """Faults of how an experiment's axes go together."""
    fixed = {a: getattr(experiment, a) for a in AXES if getattr(experiment, a) is not None}
    product, zipped = _given(experiment.product), _given(experiment.zip)
    faults = []
    places = {"": fixed, "product": product, "zip": zipped}
    for axis in AXES:
        found = [name for name, table in places.items() if axis in table]
        if len(found) > 1:
            names = " and ".join(f"{n}.{axis}" if n else axis for n in found)
            faults.append(
                Fault(
                    toml_path([*at, *filter(None, [found[-1]]), axis]),
                    "",
                    f"an axis is set once in an experiment; this one is set as {names}",
                    "keep one of them",
                )
            )
        elif axis == "learning_rate" and experiment.tune is not None:
            if found:
                faults.append(
                    Fault(
                        toml_path([*at, *filter(None, [found[-1]]), axis]),
                        "",
                        "this experiment tunes its learning rate and sets it too",
                        "remove it here, or remove the table tune",
                    )
                )
        elif axis == "epochs":
            continue  # one of several budgets: see below
        elif not found and axis in REQUIRED_AXES and axis not in defaults:
            faults.append(
                Fault(
                    toml_path([*at, axis]),
                    "",
                    "this axis has no default and is not set",
                    f"set {axis} here, in product or zip, or in [defaults]",
                )
            )
    budgets = [a for a in BUDGETS if any(a in table for table in places.values())]
    if len(budgets) > 1:
        rule = f"a run has one budget; this experiment sets {' and '.join(budgets)}"
        faults.append(Fault(toml_path([*at, budgets[-1]]), "", rule, "keep one of them"))
    if not budgets and not set(BUDGETS) & set(defaults):
        rule = "this axis has no default and is not set"
        hint = "set epochs (or budget_steps, or budget_samples) here or in [defaults]"
        faults.append(Fault(toml_path([*at, "epochs"]), "", rule, hint))
    lengths = {axis: len(values) for axis, values in zipped.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{axis} has {n}" for axis, n in lengths.items())
        rule = f"zipped axes must have equally many values; {listed}"
        faults.append(Fault(toml_path([*at, "zip"]), "", rule, "make the lists equally long"))
    return faults


def _resolve_endpoint(experiment: ExperimentTable, header: Header, key: str, default: Any) -> Any:
    for table in (experiment, header):
        value = getattr(table, key)
        if value is not None:
            return value
    return default


def _threshold_faults(metric: str, thresholds: tuple[float, ...], at: list[Any]) -> list[Fault]:
    faults = []
    for theta in thresholds:
        if metric == "accuracy" and not 0 < theta <= 1:
            rule = "a threshold of accuracy must lie above 0 and not above 1"
            hint = f"did you mean {theta / 100:g}?" if 2 <= theta <= 100 else ""
            faults.append(Fault(toml_path([*at, "thresholds"]), shown(theta), rule, hint))
        if metric == "loss" and theta <= 0:
            rule = "a threshold of loss must be above 0"
            faults.append(Fault(toml_path([*at, "thresholds"]), shown(theta), rule))
    return faults


def _run_count(experiment: ExperimentTable, header: Header) -> int:
    """How many runs an experiment asks for, without making its cells."""
    product, zipped = _given(experiment.product), _given(experiment.zip)
    cells = math.prod(len(v) for v in product.values())
    cells *= max((len(v) for v in zipped.values()), default=1)
    per_cell = len(_resolve_endpoint(experiment, header, "seeds", ()))
    if experiment.tune is not None:
        rates = len(experiment.tune.learning_rate) + experiment.tune.widen
        per_cell += rates * len(experiment.tune.seeds)
    return cells * per_cell


def _resolve_series(
    experiment: ExperimentTable, file: ProtocolFile, index: int, expand: bool, windows: Windows
) -> tuple[Experiment | None, list[Fault]]:
    """An experiment's cells, or its faults; without ``expand`` only the latter are looked for."""
    at: list[Any] = ["experiment", index]
    header, defaults = file.protocol, _given(file.defaults)
    faults = _axis_faults(experiment, defaults, at)
    metric = _resolve_endpoint(experiment, header, "metric", "accuracy")
    thresholds = _resolve_endpoint(experiment, header, "thresholds", ())
    where = at if experiment.thresholds is not None else ["protocol"]
    faults += _threshold_faults(metric, thresholds, where)
    seeds = _resolve_endpoint(experiment, header, "seeds", None)
    if seeds is None:
        hint = "for example seeds = 20 in [protocol]"
        faults.append(Fault(toml_path([*at, "seeds"]), "", "the seeds are not set", hint))
    elif experiment.tune is not None and set(seeds) & set(experiment.tune.seeds):
        shared = sorted(set(seeds) & set(experiment.tune.seeds))
        rule = "tuning seeds must differ from the evaluation seeds"
        hint = "give a number of seeds, which starts at 1,000,000"
        faults.append(Fault(toml_path([*at, "tune", "seeds"]), shown(shared), rule, hint))
    if (count := _run_count(experiment, header)) > MAX_RUNS:
        rule = f"gives {count:,} runs; at most {MAX_RUNS:,} are allowed"
        faults.append(Fault(toml_path(at), "", rule, "shorten an axis or use fewer seeds"))
    if faults or not expand:
        return None, faults
    fixed = defaults | _given(experiment)
    own = {*_given(experiment), *_given(experiment.product), *_given(experiment.zip)}
    if own & set(BUDGETS):  # an experiment's budget takes the place of the defaults'
        fixed = {axis: v for axis, v in fixed.items() if axis not in BUDGETS or axis in own}
    if experiment.tune is not None:
        fixed["learning_rate"] = None
    cells = []
    for combination in _combinations(experiment):
        values = {"epochs": None} | {a: _plain(v) for a, v in (fixed | combination).items()}
        cells.append(Cell.model_validate(values))
    seen: set[str] = set()
    for cell in cells:
        text = cell.model_dump_json()
        if text in seen:
            rule = f"two combinations of axes give the same cell ({cell.norm.label}, …)"
            faults.append(Fault(toml_path([*at, "zip"]), "", rule, "remove the repeated row"))
            break
        seen.add(text)
    product, zipped = _given(experiment.product), _given(experiment.zip)
    labels = list(dict.fromkeys(cell.norm.label for cell in cells))
    reference = _resolve_endpoint(experiment, header, "reference", None)
    if experiment.reference is not None and reference not in labels:
        rule = "the reference must be a norm of this experiment"
        hint = f"one of {', '.join(labels)}"
        faults.append(Fault(toml_path([*at, "reference"]), shown(reference), rule, hint))
    on = experiment.tune.on if experiment.tune is not None else None
    if on is not None and on not in [cell.norm for cell in cells]:
        rule = "rates are chosen on a norm of this experiment"
        hint = f"one of {', '.join(labels)}"
        faults.append(Fault(toml_path([*at, "tune", "on"]), on.label, rule, hint))
    if reference not in labels:
        reference = "none" if "none" in labels else labels[0]
    series = Experiment(
        name=experiment.name,
        title=experiment.title or experiment.name,
        seeds=seeds,
        metric=metric,
        thresholds=tuple(sorted(thresholds)),
        window=windows.found(
            _resolve_endpoint(experiment, header, "window", None),
            cells,
            toml_path([*(at if experiment.window is not None else ["protocol"]), "window"]),
            f"experiment {experiment.name!r}",
        ),
        reference=reference,
        tune=experiment.tune,
        varies=tuple(a for a in AXES if a in product or a in zipped),
        cells=tuple(cells),
    )
    return series, faults


def resolve(
    file: ProtocolFile,
    name: str,
    raw_claims: Sequence[Mapping[str, Any]] = (),
    windows: Windows | None = None,
) -> tuple[Study | None, list[Fault]]:
    """Resolve a validated file; returns the study, or all the faults of how its parts fit.

    ``raw_claims`` are the claims' tables as they stand in the file; ``windows`` says what becomes
    of one that is longer than the runs (default: it is a fault).
    """
    faults: list[Fault] = []
    windows = windows or Windows()
    budgets = [axis for axis in BUDGETS if axis in _given(file.defaults)]
    if len(budgets) > 1:
        rule = f"a run has one budget; the defaults set {' and '.join(budgets)}"
        faults.append(Fault(f"defaults.{budgets[-1]}", "", rule, "keep one of them"))
    series = []
    counts = [_run_count(experiment, file.protocol) for experiment in file.experiment]
    seen: set[str] = set()
    for index, experiment in enumerate(file.experiment):
        if experiment.name in seen:
            rule = "experiments must have different names"
            faults.append(
                Fault(toml_path(["experiment", index, "name"]), shown(experiment.name), rule)
            )
        seen.add(experiment.name)
        one, its_faults = _resolve_series(experiment, file, index, sum(counts) <= MAX_RUNS, windows)
        faults += its_faults
        if one is not None:
            series.append(one)
    header = file.protocol
    known = {cell.norm.label for one in series for cell in one.cells}
    if header.reference is not None and not faults and header.reference not in known:
        rule = "the reference must be a norm of one of the experiments"
        hint = f"one of {', '.join(sorted(known))}"
        faults.append(Fault("protocol.reference", shown(header.reference), rule, hint))
    if sum(counts) > MAX_RUNS >= max(counts):
        rule = f"the protocol gives {sum(counts):,} runs; at most {MAX_RUNS:,} are allowed"
        faults.append(Fault("experiment", "", rule, "shorten an axis or use fewer seeds"))
    claims: tuple[ResolvedClaim, ...] = ()
    families: tuple[ResolvedFamily, ...] = ()
    if not faults:
        claims, families, faults = resolve_claims(
            file.claim, file.family, raw_claims, series, windows
        )
    faults += windows.faults
    if faults:
        return None, _distinct(faults)
    study = Study(
        name=header.name or name,
        title=header.title or header.name or name,
        description=header.description,
        alpha=header.alpha,
        experiments=tuple(series),
        families=families,
        claims=claims,
        warnings=tuple(windows.warnings),
    )
    return study, []


def _distinct(faults: list[Fault]) -> list[Fault]:
    return list(dict.fromkeys(faults))
