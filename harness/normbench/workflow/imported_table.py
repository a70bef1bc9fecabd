"""A table of another trainer's runs: a row for each run and epoch, read and checked."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from normbench.errors import UsageError

_KEYS = ("norm", "batch_size", "seed", "epoch")
_PARTS = ("train", "val", "test")
#: The metrics that are taken over; an error becomes an accuracy.
METRICS = tuple(f"{part}_{name}" for part in _PARTS for name in ("loss", "accuracy", "error"))
_MOST_FAULTS = 20
_MOST_NAME = 200

Row = dict[str, str]


@dataclass(frozen=True)
class Written:
    """How a file writes things: its own column and norm by ours, and whether shares are percent."""

    columns: Mapping[str, str] = field(default_factory=dict)
    norms: Mapping[str, str] = field(default_factory=dict)
    percent: bool = False


@dataclass
class Curve:
    """One run: its epochs in order, its metrics at each, NaN where there is none, its status."""

    epochs: list[int]
    metrics: dict[str, list[float]]
    status: str = "finished"


def curves_in(file: Path, content: bytes, given: Written) -> dict[tuple[str, int, int], Curve]:
    """The runs of a CSV, parquet or JSON lines file by norm, batch size and seed.

    Raises :class:`UsageError` with all that is wrong, row by row.
    """
    header, rows = _table(file, content)
    names, metrics = _columns(header, given, file)
    faults: list[str] = []
    found: dict[tuple[str, int, int], dict[int, dict[str, float]]] = {}
    said: dict[tuple[str, int, int], str] = {}
    ours = {theirs: own for own, theirs in given.norms.items()}
    for line, row in rows:
        try:
            norm = _norm(row[names["norm"]], ours)
            size = _whole(row[names["batch_size"]], names["batch_size"], 1)
            seed = _whole(row[names["seed"]], names["seed"], 0)
            epoch = _whole(row[names["epoch"]], names["epoch"], 0)
            values = {m: _metric(row[names[m]], names[m], m, given.percent) for m in metrics}
            if "status" in names and row[names["status"]].strip():
                said[norm, size, seed] = _status(row[names["status"]].strip())
        except ValueError as error:
            faults.append(f"row {line}: {error}")
            continue
        run = found.setdefault((norm, size, seed), {})
        if epoch in run:
            faults.append(f"row {line}: {_run(norm, size, seed)} has epoch {epoch} twice")
        run[epoch] = values
    if not found and not faults:
        faults.append("it has no rows")
    curves = {key: _curve(run, said.get(key)) for key, run in found.items()}
    faults += [] if faults else list(_uneven(curves))
    if faults:
        more = len(faults) - _MOST_FAULTS
        listed = faults[:_MOST_FAULTS] + ([f"… and {more:,} more"] if more > 0 else [])
        raise UsageError("\n  ".join([f"{file} cannot be imported:", *listed]))
    return dict(sorted(curves.items(), key=lambda item: (item[0][1], item[0][2])))


def _table(file: Path, content: bytes) -> tuple[list[str], Iterator[tuple[int, Row]]]:
    """The columns and the rows as texts, each with its number as an editor shows it."""
    import pandas as pd

    try:
        if file.suffix == ".parquet":
            frame, first = pd.read_parquet(io.BytesIO(content)), 1
        elif file.suffix in (".jsonl", ".ndjson"):
            lines = content.decode("utf-8").splitlines()
            frame = pd.DataFrame([json.loads(line) for line in lines if line.strip()])
            first = 1
        else:
            frame = pd.read_csv(
                io.BytesIO(content), dtype=str, keep_default_na=False, skipinitialspace=True,
                encoding="utf-8-sig", sep=_separator(content),
            )  # fmt: skip
            first = 2
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        raise UsageError(
            f"{file} is no table of runs (CSV, .parquet or .jsonl): {type(error).__name__}: {told}"
        ) from None
    columns = [str(name).strip() for name in frame.columns]

    def rows() -> Iterator[tuple[int, Row]]:
        for place, values in enumerate(frame.itertuples(index=False, name=None)):
            yield first + place, dict(zip(columns, map(_text, values), strict=True))

    return columns, rows()


def _separator(content: bytes) -> str:
    """What stands between the columns: the one of these that the first line has most of."""
    first = content.partition(b"\n")[0].decode("utf-8", "replace")
    return max(",;\t", key=first.count)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _columns(header: list[str], given: Written, file: Path) -> tuple[dict[str, str], list[str]]:
    """Which column of the file is which of ours, and the metrics that it has."""
    known = (*_KEYS, *METRICS, "status")
    faults = [
        f"--column {own}={theirs}: {own} is none of {', '.join(known)}"
        for own, theirs in given.columns.items()
        if own not in known
    ]
    faults += [
        f"--column {own}={theirs}: there is no column {theirs!r}"
        for own, theirs in given.columns.items()
        if theirs not in header
    ]
    if len(set(header)) < len(header):
        faults.append("two columns have the same name")
    names = {own: given.columns.get(own, own) for own in known}
    names = {own: theirs for own, theirs in names.items() if theirs in header}
    lacking = [key for key in _KEYS if key not in names]
    metrics = [metric for metric in METRICS if metric in names]
    if lacking:
        faults.append(f"it lacks the columns {', '.join(lacking)}")
    if not any(metric.startswith("val_") for metric in metrics):
        faults.append("it lacks a validation metric: val_accuracy, val_error or val_loss")
    for part in _PARTS:
        if f"{part}_accuracy" in metrics and f"{part}_error" in metrics:
            faults.append(f"{part}_accuracy and {part}_error say the same: name one of them")
    if faults:
        raise UsageError(
            f"{file} has the columns {', '.join(header)}:\n  " + "\n  ".join(faults) +
            "\nlikely fix: name what is called otherwise, as --column val_accuracy=valid_acc"
        )  # fmt: skip
    return names, metrics


def _norm(text: str, ours: Mapping[str, str]) -> str:
    name = ours.get(text.strip(), text.strip())
    if not name or len(name) > _MOST_NAME or not name.isprintable():
        raise ValueError(
            f"a norm has a name of 1 to {_MOST_NAME} characters that can be printed; received "
            f"{text[:60]!r}"
        )
    return name


def _whole(text: str, column: str, least: int) -> int:
    cleaned = text.strip().removesuffix(".0")
    if not (cleaned.isdecimal() and cleaned.isascii()) or not least <= int(cleaned) < 2**31:
        raise ValueError(f"{column} is a whole number from {least} on; received {text!r}")
    return int(cleaned)


def _metric(text: str, column: str, metric: str, percent: bool) -> float:
    """A loss, or a share, as a number; NaN for what is empty or no finite number."""
    try:
        value = float(text) if text.strip() else math.nan
    except ValueError:
        raise ValueError(f"{column} is a number; received {text!r}") from None
    if not math.isfinite(value) or metric.endswith("loss"):
        return value if math.isfinite(value) else math.nan
    value = value / 100 if percent else value
    if not 0 <= value <= 1:
        fix = "" if percent else "; likely fix: --percent"
        raise ValueError(f"{column} is a share from 0 to 1; received {text!r}{fix}")
    return value


def _status(text: str) -> str:
    if text not in ("finished", "diverged"):
        raise ValueError(f"status is finished or diverged; received {text!r}")
    return text


def _curve(run: Mapping[int, Mapping[str, float]], said: str | None) -> Curve:
    """A run's rows in order. Where the validation metric is no number, it has diverged there."""
    epochs = sorted(run)
    names = list(next(iter(run.values())))
    shown = next(name for name in names if name.startswith("val_"))
    sound = [epoch for epoch in epochs if not math.isnan(run[epoch][shown])]
    status = said or ("finished" if sound == epochs else "diverged")
    kept = (sound or epochs[:1]) if status == "diverged" else epochs
    metrics: dict[str, list[float]] = {}
    for name in names:
        values = [run[epoch][name] for epoch in kept]
        if name.endswith("_error"):
            metrics[name.replace("_error", "_accuracy")] = [1 - value for value in values]
        else:
            metrics[name] = values
    return Curve(kept, metrics, status)


def _uneven(curves: Mapping[tuple[str, int, int], Curve]) -> Iterator[str]:
    """Runs that were not trained for as many epochs as the others, or were not always evaluated."""
    last = max(curve.epochs[-1] for curve in curves.values())
    for key, curve in curves.items():
        expected = list(range(curve.epochs[0], curve.epochs[-1] + 1))
        if curve.epochs != expected or curve.epochs[0] > 1:
            yield f"{_run(*key)}: its epochs are not 1, 2, 3, … without a gap"
        elif curve.status == "finished" and curve.epochs[-1] != last:
            yield (
                f"{_run(*key)}: ends at epoch {curve.epochs[-1]}, others at {last}; runs are "
                "compared after the same training: leave later rows out, or say that it diverged "
                "in a column status"
            )


def _run(norm: str, size: int, seed: int) -> str:
    return f"{norm} at batch size {size}, seed {seed}"
