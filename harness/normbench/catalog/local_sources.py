"""Which files of its folder a Python file imports, found by reading and never by importing.

What counts are ``import`` statements, wherever they stand in a file. A module that is asked for in
another way is noticed when it has been imported, and refused (see :mod:`normbench.catalog.target`).
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterator, Mapping
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

from normbench.errors import UsageError

_SUFFIXES = (".py", *EXTENSION_SUFFIXES)


def local_sources(file: Path) -> dict[str, Path]:
    """All modules of a file's folder that it imports, and what they do: paths by module name.

    The file itself has the name "". Raises :class:`UsageError` where one cannot be read, is no
    Python, or is hidden by a module of the same name that is installed.
    """
    folder = file.parent
    found: dict[str, Path] = {"": file}
    waiting = [""]
    while waiting:
        name = waiting.pop()
        for wanted in _imports(found[name], name):
            for module, path in _located(folder, wanted):
                if module not in found:
                    _refuse_hidden(folder, module.partition(".")[0])
                    found[module] = path
                    waiting.append(module)
    return found


def content_of(files: Mapping[str, Path]) -> str:
    """A hash of the names and the contents of some files."""
    content = hashlib.sha256()
    for name in sorted(files):
        found = hashlib.sha256(files[name].read_bytes()).hexdigest()
        content.update(f"{name}\0{found}\n".encode())
    return content.hexdigest()


def _imports(path: Path, name: str) -> Iterator[str]:
    """The names that a module may import: ``from a import b`` may mean a module ``a.b``."""
    if path.suffix != ".py":
        return
    try:
        tree = ast.parse(path.read_bytes(), filename=path.name)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        said = getattr(error, "msg", None) or str(error)
        raise UsageError(f"{path.name} is no Python: {said} ({path.name}{where})") from None
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".") if package else []
                if node.level - 1 >= max(1, len(parts)):
                    continue  # beyond the folder: importing it will say so
                parts = parts[: len(parts) - (node.level - 1)]
                base = ".".join([*parts, *filter(None, [base])])
            yield from ([base] if base else [])
            yield from (".".join(filter(None, [base, alias.name])) for alias in node.names)


def _located(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """The modules in the folder that importing ``name`` runs, its packages' among them."""
    parts = name.split(".")
    place = folder
    for depth, part in enumerate(parts):
        module = ".".join(parts[: depth + 1])
        inner = place / part
        if (inner / "__init__.py").is_file():
            yield module, inner / "__init__.py"
        else:
            files = (place / f"{part}{suffix}" for suffix in _SUFFIXES)
            single = next((path for path in files if path.is_file()), None)
            if single is not None:
                yield module, single
                return
            if not inner.is_dir():
                return
        place = inner


def _refuse_hidden(folder: Path, top: str) -> None:
    """Refuse a module beside the file that Python would not take: its folder comes last."""
    if (
        not any((folder / f"{top}{suffix}").is_file() for suffix in _SUFFIXES)
        and not (folder / top / "__init__.py").is_file()
    ):
        return  # a folder without __init__.py yields to an installed package, as in Python
    origin = "of Python itself" if top in sys.stdlib_module_names else _installed(folder, top)
    if origin:
        raise UsageError(
            f"the module {top} in {folder} has the name of a module {origin}, which Python takes "
            f"in its place; likely fix: rename {top}, and what imports it"
        )


def _installed(folder: Path, top: str) -> str:
    try:
        spec = find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return ""
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""] if spec else []
    inside = [place for place in places if place and Path(place).is_relative_to(folder)]
    return "" if not places or inside else "that is installed"
