"""Which data a results folder was computed from: so that changed data are never mixed in.

``data.json`` holds, for each data set with its parameters, its content: the key from which the
split follows, a digest of the arrays, and what was skipped. Where data have changed and runs are
computed anew, those that still rest on the earlier data are listed there until none is left.
Folders of earlier versions hold the key alone; it says names and sizes of files, and not more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from normbench.datasets.content import Content, name_of
from normbench.errors import ResultsError
from normbench.results.files import DamagedError, damaged, read_object, write_object
from normbench.results.provenance import now

NAME = "data.json"
#: What moving the file away means.
_WITHOUT = "then the data of the next run count as those of the earlier ones, unchecked"


@dataclass(frozen=True)
class RunsByData:
    """The hashes of runs: of results that are stored, by data set, and of those that are planned.

    ``anew`` are those that are computed whatever there is of them (None: no run is).
    """

    stored: Mapping[str, frozenset[str]] = field(default_factory=dict)
    planned: frozenset[str] = frozenset()
    anew: frozenset[str] | None = None


@dataclass(frozen=True)
class Recorded:
    """What is known of a data set that runs were computed from.

    ``earlier`` are the hashes of runs that rest on other data, from before a change. ``key_until``
    is the date until which the key alone, or nothing, was recorded, where that was so.
    """

    content: Content
    earlier: frozenset[str] = frozenset()
    key_until: str = ""

    def same(self, content: Content) -> bool:
        """Whether this is that content, as far as both are known."""
        known = self.content
        digests = not known.sha256 or not content.sha256 or known.sha256 == content.sha256
        return known.key == content.key and digests


def name_of_row(row: Mapping[str, Any]) -> str:
    """How the data set of a run's row is called in ``data.json``."""
    params = json.loads(row.get("dataset_params") or "{}")
    return name_of(str(row["dataset"]).partition("(")[0], params)


def read_contents(folder: Path) -> dict[str, Recorded]:
    """What is recorded of each data set (by :func:`name_of`); empty where nothing is."""
    known = read_object(folder / NAME, _WITHOUT) or {}
    found = {}
    for text, entry in known.items():
        try:
            name, params = _parsed(text)
        except (ValueError, TypeError, KeyError):  # something else that is kept there
            continue
        try:
            found[name_of(name, params)] = _recorded(entry)
        except (TypeError, AttributeError) as error:
            raise damaged(folder / NAME, error, _WITHOUT) from None
    return found


def _parsed(text: str) -> tuple[str, dict[str, Any]]:
    params = dict(json.loads(text))
    return str(params.pop("name")), params


def _recorded(entry: Any) -> Recorded:
    if isinstance(entry, str):  # an earlier version's
        return Recorded(Content(entry, ""))
    known = {one.name for one in fields(Content)}
    content = Content(**{name: value for name, value in entry.items() if name in known})
    return Recorded(content, frozenset(entry.get("earlier", ())), str(entry.get("key_until", "")))


def check_contents(
    folder: Path,
    contents: Mapping[str, Content],
    runs: Callable[[], RunsByData] = RunsByData,
) -> dict[str, Recorded]:
    """What is to be recorded of the data that runs are about to use; nothing is written.

    ``contents`` gives the content of each data set of the protocol; ``runs`` is asked only where
    something changed or is not recorded. Raises :class:`ResultsError` where results of a data set
    that has changed would stand beside new ones.
    """
    known, records = read_contents(folder), {}
    for name, content in contents.items():
        before = known.get(name)
        if before is None:
            # results without a record: it was moved away, or is older than records are
            records[name] = Recorded(content, key_until=now() if _any(runs, name) else "")
            continue
        changed = not before.same(content)
        earlier = before.earlier
        if changed or earlier:
            found = runs()
            there = found.stored.get(name, frozenset())
            earlier = there if changed else earlier & there
            if earlier & found.planned:
                mixed = earlier & found.planned
                _refuse(folder, name, before, content, mixed, found.anew, changed=changed)
        older = now() if not changed and not before.content.sha256 else before.key_until
        records[name] = Recorded(content, earlier, older)
    return records


def _any(runs: Callable[[], RunsByData], name: str) -> bool:
    """Whether there are results of a data set; where their table is damaged, there may be."""
    try:
        return bool(runs().stored.get(name))
    except DamagedError:
        return True


def _refuse(
    folder: Path,
    name: str,
    before: Recorded,
    content: Content,
    earlier: frozenset[str],
    anew: frozenset[str] | None,
    *,
    changed: bool,
) -> None:
    """Raise :class:`ResultsError` unless all runs on ``earlier`` data are computed anew."""
    label, left = _parsed(name)[0], len(earlier - (anew or frozenset()))
    if anew is not None and not left:
        return
    reader = before.content.read_by
    why = "files or numbers were added, removed or changed since"
    if reader and content.read_by and reader != content.read_by:
        why += f", or are read otherwise: by {content.read_by}, then by {reader}"
    first = (
        f"the data set {label} is not the one that the results in {folder} were computed from "
        f"({why}); results of both must not be mixed"
        if changed
        else f"{len(earlier)} runs in {folder} were computed from earlier data of the data set "
        f"{label}, and wait to be computed anew"
    )
    if anew is not None:
        raise ResultsError(
            f"{first}; --recompute must take all of them, and --only leaves {left} out; likely "
            "fix: leave --only out, or use a new folder with --results"
        )
    back = "bring the earlier data back, " if changed else ""
    raise ResultsError(
        f"{first}: {back}use a new folder with --results, or compute the runs of this data set "
        "anew with --recompute"
    )


def record_contents(folder: Path, records: Mapping[str, Recorded]) -> None:
    """Store what is known of the data that runs are about to use; others' records stay."""
    known = read_object(folder / NAME, _WITHOUT) or {}
    new = known | {name: _as_json(record) for name, record in records.items()}
    if new != known:
        write_object(folder / NAME, new)


def _as_json(record: Recorded) -> Any:
    if not record.content.sha256:
        return record.content.key
    entry = record.content.as_json()
    if record.earlier:
        entry["earlier"] = sorted(record.earlier)
    return entry | ({"key_until": record.key_until} if record.key_until else {})


def record_renewed(folder: Path, runs: Iterable[str]) -> None:
    """Note that these runs have been computed from the data as they are recorded now."""
    done = frozenset(runs)
    known = read_contents(folder)
    record_contents(folder, {n: replace(r, earlier=r.earlier - done) for n, r in known.items()})
