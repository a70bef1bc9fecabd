"""Which code of other packages stored runs ran, read off their rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from normbench.catalog.fingerprints import Code


def codes_of(text: Any) -> list[Code]:
    """The codes in a value of the column ``code``: none where it is empty."""
    return [Code(**record) for record in json.loads(text)] if isinstance(text, str) else []


def code_by_component(runs: pd.DataFrame) -> dict[str, dict[Code, int]]:
    """For each component of another package, how many of these runs ran which code of it."""
    found: dict[str, dict[Code, int]] = {}
    for text, count in runs["code"].value_counts().items():
        for code in codes_of(text):
            counts = found.setdefault(code.component, {})
            counts[code] = counts.get(code, 0) + int(count)
    return dict(sorted(found.items()))


def requirements(codes: Iterable[Code]) -> list[str]:
    """What to install for these codes, as pip takes it."""
    known = {
        f"{code.distribution}=={code.version}" if code.version else code.distribution
        for code in codes
    }
    return sorted(known)
