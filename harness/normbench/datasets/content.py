"""What tells a data set from a changed one, and what was left out of it, as it is recorded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any

from normbench.datasets.base import Arrays
from normbench.datasets.names import cut, printable

#: How many skipped files are named, and how many reasons are counted; the rest is in the list.
NAMED, REASONS = 5, 10


@dataclass(frozen=True)
class Content:
    """What tells a data set from a changed one, and what was skipped; small, whatever the data.

    ``key`` is :attr:`Arrays.key`, from which the split follows; ``sha256`` is the digest of the
    arrays. ``read_by`` names the program that made numbers of files, where one did. Of the
    ``skipped`` files (of ``files``) the first are in ``named`` with their reasons, ``reasons``
    counts them all, and ``listed_in`` is a file with the rest.
    """

    key: str
    sha256: str
    read_by: str = ""
    skipped: int = 0
    files: int = 0
    named: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    listed_in: str = ""

    def as_json(self) -> dict[str, Any]:
        """The fields that are set; of a file's place its name alone, since results travel."""
        listed_in = PurePath(self.listed_in).name
        fields = asdict(self) | {"listed_in": listed_in}
        return {name: value for name, value in fields.items() if value}


def name_of(dataset: str, params: Mapping[str, Any]) -> str:
    """How a data set with its parameters is called where its content is recorded."""
    return json.dumps({"name": dataset, **params}, sort_keys=True)


def content_of(arrays: Arrays) -> Content:
    """The content of a data set."""
    skipped = arrays.skipped
    if skipped is None or not skipped.reasons:
        return Content(arrays.key, arrays.sha256, arrays.read_by)
    counts = Counter(_kind(reason) for reason in skipped.reasons.values())
    return Content(
        arrays.key, arrays.sha256, arrays.read_by, len(skipped.reasons), skipped.files,
        dict(list(skipped.reasons.items())[:NAMED]), dict(counts.most_common(REASONS)),
        skipped.listed_in,
    )  # fmt: skip


def _kind(reason: str) -> str:
    """A reason without the numbers in it, so that equal ones can be counted together."""
    return " ".join("…" if any(c.isdigit() for c in word) else word for word in reason.split())


def skipped_line(name: str, content: Content) -> str:
    """In one line which files a data set leaves out, and why; empty where there are none.

    ``name`` is that of :func:`name_of`. The line is short whatever the files are called.
    """
    if not content.skipped:
        return ""
    label, shown = json.loads(name)["name"], content.named.items()
    named = "; ".join(f"{cut(n)}: {cut(why)}" for n, why in shown)
    more = content.skipped - len(content.named)
    rest = f"; and {more:,} more" if more > 0 else ""
    whole = f" (all are listed in {printable(content.listed_in)})" if content.listed_in else ""
    return (
        f"{label}: {content.skipped:,} of {content.files:,} files are no usable images and were "
        f"skipped: {named}{rest}{whole}"
    )
