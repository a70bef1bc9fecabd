"""Trust: a protocol that names code of the user's own runs when the user has said that it may.

A target is code. That it may run is recorded in the user's own configuration folder, as the
protocol's path and a hash of the protocol and of the sources beside it that it runs: any change of
one of them asks again, and nothing that lies in the protocol's folder can grant it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from normbench.catalog.local_sources import content_of, local_sources
from normbench.catalog.target_name import check_package, parsed
from normbench.errors import UsageError
from normbench.plan.code import targets
from normbench.plan.spec import digest
from normbench.protocol.study import Study
from normbench.results import provenance
from normbench.results.files import read_object, write_object

_WITHOUT = "then no protocol with targets is trusted, and each asks again"


@dataclass(frozen=True)
class Asked:
    """The code that a protocol runs: its targets, the files beside it, and a hash of all of it."""

    protocol: Path
    targets: tuple[str, ...]
    files: tuple[Path, ...]
    content: str

    def lines(self) -> list[str]:
        """What would run, a line each."""
        named = [f"  {target}" for target in self.targets]
        return [*named, *(f"  file {path}" for path in self.files)]


def asked(study: Study, text: str) -> Asked | None:
    """The code that a protocol of this text runs; None where all of it is normbench's.

    Its sources are read, nothing is imported. Raises :class:`UsageError` where one is not there.
    """
    cells = {cell for series in study.experiments for cell in series.cells}
    used = sorted({one for cell in cells for one in targets(cell)})
    if not used:
        return None
    files: dict[str, Path] = {}
    for _, name in used:
        target = parsed(name)
        if target.is_file:
            path = target.file(study.root).resolve()
            files |= {f"{target.module} {key}": one for key, one in local_sources(path).items()}
        else:
            check_package(target, study.root)
    named = tuple(f"{kind} {name}" for kind, name in used)
    content = digest([text, named, content_of(files)])
    return Asked(Path(study.file).resolve(), named, tuple(dict.fromkeys(files.values())), content)


def config_folder() -> Path:
    """The user's own configuration folder of normbench, which need not be there yet.

    Raises :class:`UsageError` where the environment names none.
    """
    for variable, below in (("XDG_CONFIG_HOME", ""), ("HOME", ".config")):
        given = os.environ.get(variable, "")
        if given and Path(given).is_absolute():  # a relative one is to be ignored, says XDG
            return Path(given, below, "normbench")
    raise UsageError(
        "a protocol that runs code of your own needs a place where you say that it may, in your "
        "configuration folder: neither XDG_CONFIG_HOME nor HOME names an absolute folder; likely "
        "fix: set HOME"
    )


def require(study: Study, text: str, *, grant: bool, ask: Callable[[str], bool] | None) -> None:
    """Return if the code of a protocol may run; ``grant`` says so, or a person whom ``ask`` asks.

    What is said is recorded. Raises :class:`UsageError` where the code may not run.
    """
    found = asked(study, text)
    if found is None:
        return
    record = config_folder() / "trusted.json"
    earlier = _read(record)
    mine = [one for one in earlier if one.get("protocol") == str(found.protocol)]
    if any(one.get("content") == found.content for one in mine):
        return
    state = "it has changed since that was allowed" if mine else "nobody has allowed that yet"
    told = "\n".join(
        [f"{found.protocol} runs code that is not normbench's, and {state}:", *found.lines()]
    )
    if not grant and (ask is None or not ask(told)):
        raise UsageError(
            f"{told}\nlikely fix: read it, then give the same command with --trust, which is "
            f"recorded in {record} and holds until any of it changes"
        )
    _add(record, found)


def _read(record: Path) -> list[dict[str, Any]]:
    folder = record.parent
    try:
        state = folder.stat()
    except FileNotFoundError:
        return []
    if os.name == "posix" and (
        state.st_uid != os.geteuid() or state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        raise UsageError(
            f"{folder} says which code may run, and is another user's or may be written by others; "
            "likely fix: make it your own (chown) and take that right from others (chmod go-w)"
        )
    content = read_object(record, _WITHOUT) or {}
    listed = content.get("trusted", [])
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _add(record: Path, found: Asked) -> None:
    try:
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(record.with_suffix(".lock")):
            said = {"protocol": str(found.protocol), "content": found.content}
            earlier = _read(record)
            write_object(record, {"trusted": [*earlier, {**said, "when": provenance.now()}]})
    except OSError as error:
        raise UsageError(
            f"that the code may run cannot be recorded in {record}: {error.strerror}; likely fix: "
            "let that folder be written, or name another by XDG_CONFIG_HOME"
        ) from None
