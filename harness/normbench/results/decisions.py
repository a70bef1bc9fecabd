"""The file of decisions in a results folder: tuned rates and pooled thresholds."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from normbench.errors import NewerResultsError
from normbench.plan.decisions import Decisions
from normbench.results.files import damaged, read_object, write_object
from normbench.results.provenance import now

#: 2: ``grids``, written only where a grid was widened.
DECISIONS_VERSION = 2


def read_versioned(
    path: Path,
    check: Callable[[dict[str, Any]], None],
    without: str,
    newest: int = DECISIONS_VERSION,
) -> dict[str, Any] | None:
    """The content of a file of a version up to ``newest``, or None where there is none.

    ``check`` raises where something is missing in it; ``without`` says what moving it away means.
    """
    content = read_object(path, without)
    if content is None:
        return None
    try:
        version = int(content["version"])
        if version <= newest:
            check(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, error, without) from None
    if version > newest:
        raise NewerResultsError(
            f"{path} was written by a newer normbench (version {version}; this one reads up to "
            f"{newest}); upgrade normbench to read it"
        )
    return content


def _check_decisions(content: dict[str, Any]) -> None:
    for kind, value in (("rates", "learning_rate"), ("thresholds", "threshold")):
        for choice in content[kind].values():
            float(choice[value])
    for added in content.get("grids", {}).values():
        tuple(map(float, added))


def read_record(folder: Path) -> dict[str, Any]:
    """All decisions with what they rest on; empty if none was taken."""
    record = read_versioned(
        folder / "decisions.json",
        _check_decisions,
        "then what it held is decided anew from the present results",
    )
    return record or {"version": 1, "rates": {}, "thresholds": {}}


def read_decisions(folder: Path) -> Decisions:
    """The decided values alone. Raises ResultsError for a damaged or newer file."""
    record = read_record(folder)
    return Decisions(
        {key: float(choice["learning_rate"]) for key, choice in record["rates"].items()},
        {key: float(choice["threshold"]) for key, choice in record["thresholds"].items()},
        {key: tuple(map(float, added)) for key, added in record.get("grids", {}).items()},
    )


def add_rate(folder: Path, key: str, rate: float) -> None:
    """Add a learning rate to the grid of the cell with this key."""
    record = read_record(folder)
    grids = record.setdefault("grids", {})
    grids[key] = [*grids.get(key, ()), rate]
    record["version"] = DECISIONS_VERSION
    write_object(folder / "decisions.json", record, sort=True)


def add_decisions(
    folder: Path, kind: str, choices: dict[str, dict[str, Any]], anew: Collection[str] = ()
) -> None:
    """Add decisions of a kind (``rates`` or ``thresholds``).

    An earlier one is changed only for the keys ``anew``, of which the runs were computed anew.
    """
    record = read_record(folder)
    taken = {key: {**choice, "decided": now()} for key, choice in choices.items()}
    record[kind] = {**taken, **{k: v for k, v in record[kind].items() if k not in anew or
                                k not in taken}}  # fmt: skip
    write_object(folder / "decisions.json", record, sort=True)
