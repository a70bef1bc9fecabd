"""Which code a component of another package is: its distribution, version and sources.

A run's identity covers them, so that edited code is trained anew. What is hashed are all modules of
the packages in which the entry point and the component's code live, and of their distribution:
Python's and compiled ones. Their own dependencies are not, nor files of data.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from importlib.util import MAGIC_NUMBER, cache_from_source, find_spec
from pathlib import Path
from types import CodeType, MappingProxyType
from typing import Any

from normbench.catalog.entries import Catalog
from normbench.catalog.local_sources import content_of, local_sources
from normbench.catalog.target_name import check_package, parsed
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


def imported(catalog: Catalog, name: str) -> Code | None:
    """The code of a component that this process imported: looked at once, as it is imported once.

    The files are looked at after the import, never before: what is edited in between is noticed.
    """
    return _imported(catalog, name, catalog[name].target)


@cache
def _imported(catalog: Catalog, name: str, _target: str) -> Code | None:
    # a name may get another entry, whose code is another: so the target is a part of the key
    with contextlib.suppress(Exception, SystemExit):  # what it raises, training will tell
        catalog[name].load()
    return fingerprint(catalog, name)


def target_code(kind: str, text: str, root: str) -> Code:
    """The code of a target as it lies on this machine now; nothing of it is imported.

    Of a file it is that file and all that it imports from its folder, of a package what
    :func:`fingerprint` covers of it. Of torch itself it is the version: a run's environment names
    its build, and nobody edits it. Raises :class:`UsageError` where there is no such file.
    """
    target = parsed(text)
    key = f"{kind} {target}"
    if target.is_file:
        files = {
            name or target.module: path
            for name, path in local_sources(target.file(root).resolve()).items()
        }
        return Code(key, target.module, "", content_of(files)[:16])
    check_package(target, root)
    top = target.module.partition(".")[0]
    name, version = _distribution_of(top)
    if top == "torch":
        return Code(key, name, version, hashlib.sha256(version.encode()).hexdigest()[:16])
    return Code(key, name, version, _digest(name, (target.module,)))


@cache
def imported_target(kind: str, text: str, root: str) -> Code:
    """:func:`target_code` of a package's target that this process imports: looked at once."""
    return target_code(kind, text, root)


@cache
def _distribution_of(top: str) -> tuple[str, str]:
    """The distribution that a top-level package is of, and its version without the build."""
    name = next(iter(packages_distributions().get(top, ())), top)
    try:
        return name, distribution(name).version.partition("+")[0]
    except (PackageNotFoundError, ValueError):
        return name, ""


def _digest(name: str, modules: tuple[str, ...]) -> str:
    files = dict(_of_distribution(name))
    for module in modules:
        files |= _of_module(module)
    content = hashlib.sha256()
    for label in sorted(files):
        if _is_stale(files[label]):
            raise WorkError(
                f"Python would run an earlier {files[label].name} of the package {name}: its "
                "bytecode in __pycache__ has the date and the size of the file as it is now, and "
                "not its code; likely fix: touch the file, or delete __pycache__"
            )
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
            if places:
                return _below(Path(places[0]), prefix)
            # a module in a folder without __init__.py: it may import what lies beside it
            beside = depth > 0 and Path(spec.origin).is_file()
            up = "/".join(parts[: depth - 1])
            return (
                _below(Path(spec.origin).parent, up)
                if beside
                else _alone(Path(spec.origin), prefix)
            )
    return {}


def _below(folder: Path, prefix: str) -> dict[str, Path]:
    if not folder.is_dir():  # inside an archive
        return _alone(folder, prefix)
    found, seen = {}, set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # links in a circle
            folders.clear()
            continue
        seen.add(real)
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


def _is_stale(path: Path) -> bool:
    """Whether Python takes bytecode for this source that was made of another.

    It goes by date and size. Only where the file was touched after its bytecode was written, the
    two are compared.
    """
    if path.suffix != ".py":
        return False
    try:
        cached, stat = Path(cache_from_source(str(path))), path.stat()
        if stat.st_ctime_ns <= cached.stat().st_mtime_ns:
            return False
        content = cached.read_bytes()
        fits = content[:8] == MAGIC_NUMBER + bytes(4) and content[8:16] == struct.pack(
            "<II", int(stat.st_mtime) & 0xFFFFFFFF, stat.st_size & 0xFFFFFFFF
        )
        if not fits:
            return False
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        return bool(_plain_code(marshal.loads(content[16:])) != _plain_code(code))
    except (OSError, ValueError, TypeError, EOFError, SyntaxError, NotImplementedError):
        return False


def _plain_code(code: Any) -> Any:
    """What code does, without the place of its file."""
    constants = tuple(_plain_code(c) if isinstance(c, CodeType) else (type(c), repr(c))
                      for c in code.co_consts)  # fmt: skip
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_name


def _counts(name: str) -> bool:
    return name.endswith(_SUFFIXES) and "__pycache__" not in name
