"""``execution.json``: the environments and the execution plan of a results folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from normbench.errors import ResultsError
from normbench.plan.execution import EngineSpec, ExecutionPlan, GroupPlan
from normbench.plan.spec import digest
from normbench.results.files import damaged, read_object, write_object

NAME = "execution.json"


_WITHOUT = (
    "then nothing says any more in which environment the present results were computed, and runs "
    "to come get a new plan"
)


def read_execution(folder: Path) -> ExecutionPlan:
    """The plan of a folder, empty where there is none.

    Raises :class:`ResultsError` where it is damaged or cannot be read.
    """
    path = folder / NAME
    content = read_object(path, _WITHOUT)
    if content is None:
        return ExecutionPlan()
    try:
        groups = {
            key: GroupPlan(
                EngineSpec(**group["engine"]), tuple(group["runs"]), group["environment"],
                None if group.get("seconds") is None else float(group["seconds"]),
                str(group.get("reason", "")),
            )
            for key, group in content["groups"].items()
        }  # fmt: skip
        replaced = frozenset(k for k, g in content["groups"].items() if g.get("replaced"))
        return ExecutionPlan(dict(content["environments"]), groups, replaced)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise damaged(path, error, _WITHOUT) from None


def read_plan_file(path: Path) -> ExecutionPlan:
    """The plan in a file that a user named; raises :class:`ResultsError` where there is none."""
    plan = read_execution(path.parent) if path.name == NAME else ExecutionPlan()
    if not plan.groups:
        raise ResultsError(
            f"{path} holds no execution plan; name the execution.json of a results folder"
        )
    return plan


def add_groups(
    folder: Path,
    environment: Mapping[str, Any],
    groups: Iterable[GroupPlan],
    replaced: Iterable[str] = (),
) -> None:
    """Store groups before any of them is computed, and mark those that others replace."""
    plan = read_execution(folder)
    environments = {**plan.environments, digest(dict(environment)): dict(environment)}
    known = {**plan.groups, **{group.key: group for group in groups}}
    gone = plan.replaced | set(replaced)
    content = {
        "environments": environments,
        "groups": {
            key: {
                "environment": group.environment,
                "engine": asdict(group.engine),
                "width": len(group.runs),
                "seconds": group.seconds,
                **({"reason": group.reason} if group.reason else {}),
                "replaced": key in gone,
                "runs": list(group.runs),
            }
            for key, group in known.items()
        },
    }
    write_object(folder / NAME, content)


def environment_of_group(folder: Path) -> dict[str, str]:
    """For each execution hash, the hash of what runs must share to be paired.

    That is the device, the processor and the versions; engines and groups may differ.
    """
    plan = read_execution(folder)
    return {key: group.environment for key, group in plan.groups.items()}
