"""Faults of how a protocol's parts fit, found even where some of its values are faulty.

A schema stops at faulty values. So that everything is told at once, those values are left out and
the rest is resolved; a fault that only follows from what was left out is not reported.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from normbench.catalog import nearest
from normbench.errors import Fault
from normbench.protocol.faults import located_faults
from normbench.protocol.file import ProtocolFile
from normbench.protocol.resolve import resolve
from normbench.protocol.schema import AXES

Path = list[str | int]


def _leave_out(document: Any, path: Sequence[str | int]) -> None:
    """Remove the value at ``path``, if it is still there."""
    parent = document
    for part in path[:-1]:
        try:
            parent = parent[part]
        except (KeyError, IndexError, TypeError):
            return
    last = path[-1]
    if isinstance(parent, dict):
        parent.pop(last, None)
    elif isinstance(parent, list) and isinstance(last, int) and last < len(parent):
        del parent[last]
        if not parent:  # an empty list would only be a fault of its own
            _leave_out(document, path[:-1])


def further_faults(error: ValidationError, document: dict[str, Any], name: str) -> list[Fault]:
    """The faults that remain when what ``error`` names is left out of ``document``."""
    located = located_faults(error, document)
    paths: list[Path] = [path for _, path in located]
    whole = [p for p in paths if not p or (len(p) < 3 and p[0] in ("experiment", "claim"))]
    if whole:
        return []  # an experiment or a claim as a whole is faulty: the others' places would move
    rest = copy.deepcopy(document)
    # deeper and later items first, so that the remaining paths keep their meaning
    for path in sorted(paths, key=lambda p: [(len(p), str(x).zfill(9)) for x in p], reverse=True):
        _leave_out(rest, path)
    gone = {part for path in paths for part in path if isinstance(part, str)}
    for fault, path in located:
        if fault.rule.startswith("unknown key"):
            gone.add(nearest(str(path[-1]), AXES) or "")  # what was meant is not missing
    try:
        file = ProtocolFile.model_validate(rest)
    except ValidationError:
        return []
    _, faults = resolve(file, name, rest.get("claim", []))
    return [fault for fault in faults if not _follows(fault, gone)]


def _follows(fault: Fault, gone: set[str]) -> bool:
    """Whether a fault may be the consequence of keys that were left out."""
    if fault.path.startswith("claim"):
        return True  # its cells depend on everything that was left out
    return fault.path.rpartition(".")[2].partition("[")[0] in gone
