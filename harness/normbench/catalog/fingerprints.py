"""Which code a component of another package is: its distribution, version and sources.

A run's identity covers them, so that edited code is trained anew. What is hashed are all modules of
the packages in which the entry point and the component's code live, and of their distribution:
Python's and compiled ones. Their own dependencies are not, nor files of data.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from normbench.catalog.entries import Catalog
from normbench.errors import WorkError

_SUFFIXES = (".py", *EXTENSION_SUFFIXES)
#: normbench's own modules are no part of a component's sources: its version is recorded, and a
#: change of its numbers has a version of its own.
_OURS = "normbench"


@dataclass(frozen=True, order=True)
class Code:
    """The code of one component: ``component`` is its kind and name, as in ``norm frn``."""

    component: str
    distribution: str
    version: str
    sources: str

    @property
    def label(self) -> str:
        """What ran, for people: the distribution with its version, and a short hash."""
        return f"{self.distribution} {self.version}".strip() + f" ({self.sources[:8]})"

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


#: The code of components by ``kind name``. Built-in ones have none.
Fingerprints = Mapping[str, Code]
NO_CODE: Fingerprints = MappingProxyType({})


def component(catalog: Catalog, name: str) -> str:
    """The key of a component among fingerprints."""
    return f"{catalog.kind} {name}"


def fingerprint(catalog: Catalog, name: str) -> Code | None:
    """The code of a component as it lies on this machine now; None for a built-in one."""
    if catalog.built_in(name):
        return None
    origin = catalog.origin(name)
    tops = {origin.module, catalog[name].target.partition(":")[0]}
    sources = _digest(origin.distribution, tuple(sorted(tops)))
    return Code(component(catalog, name), origin.distribution, origin.version, sources)


@cache
def imported(catalog: Catalog, name: str) -> Code | None:
    """The code of a component that this process imported: looked at once, as it is imported once.

    The files are looked at after the import, never before: what is edited in between is noticed.
    """
    with contextlib.suppress(Exception, SystemExit):  # what it raises, training will tell
        catalog[name].load()
    return fingerprint(catalog, name)


def _digest(name: str, modules: tuple[str, ...]) -> str:
    files = dict(_of_distribution(name))
    for module in modules:
        files |= _of_module(module)
    content = hashlib.sha256()
    for label in sorted(files):
        try:
            with files[label].open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise WorkError(
                f"the code of the package {name} cannot be read ({files[label].name}: "
                f"{error.strerror or error}), so that nothing can say which code ran; allow "
                "reading it"
            ) from None
        content.update(f"{label}\0{found}\n".encode())
    return content.hexdigest()[:16]


def _of_distribution(name: str) -> Iterable[tuple[str, Path]]:
    """The modules that a distribution lists as its files, by their names there."""
    try:
        found = distribution(name)
        listed = found.files or []
    except (PackageNotFoundError, ValueError):
        return
    for file in listed:
        if _counts(str(file)) and file.parts[0] not in (_OURS, ".."):
            path = Path(str(file.locate()))
            if path.is_file():
                yield file.as_posix(), path


def _of_module(module: str) -> dict[str, Path]:
    """All modules of the top-level package of a module, by their names in it."""
    parts = module.split(".")
    for depth in range(len(parts)) if parts[0] != _OURS else ():
        try:
            spec = find_spec(".".join(parts[: depth + 1]))
        except (ImportError, ValueError, AttributeError):
            return {}
        if spec is None:
            return {}
        prefix, places = "/".join(parts[:depth]), list(spec.submodule_search_locations or ())
        if spec.origin is not None:  # no namespace, which several distributions share
            return _below(Path(places[0]), prefix) if places else _alone(Path(spec.origin), prefix)
    return {}


def _below(folder: Path, prefix: str) -> dict[str, Path]:
    if not folder.is_dir():  # inside an archive
        return _alone(folder, prefix)
    found = {}
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            path = Path(place, name)
            if _counts(name) and path.is_file():
                label = path.relative_to(folder.parent).as_posix()
                found["/".join(filter(None, [prefix, label]))] = path
    return found


def _alone(path: Path, prefix: str) -> dict[str, Path]:
    """A module of one file, or the archive that it lies in."""
    while not path.is_file() and path != path.parent:
        path = path.parent
    return {"/".join(filter(None, [prefix, path.name])): path} if path.is_file() else {}


def _counts(name: str) -> bool:
    return name.endswith(_SUFFIXES) and "__pycache__" not in name
