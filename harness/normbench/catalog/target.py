"""Targets: a class or a function of the user's own, by its file or its package.

``"mynorm.py:PowerNorm"`` is in a file beside the protocol, ``"torchvision.models:resnet18"`` in a
package.
A file is loaded under a private name, and its folder is appended to ``sys.path``, never put first:
nothing in it takes the place of a module that anything else imports. Where the protocol lies is
told to a process by :func:`use_root`; it is no part of a run's identity.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import FunctionType, ModuleType
from typing import Any

from normbench.catalog.args import asks, filled
from normbench.catalog.from_source import SourceLoader, append_folder
from normbench.catalog.guard import guarding
from normbench.catalog.local_sources import content_of, local_sources
from normbench.catalog.target_name import Target, check_package, parsed
from normbench.errors import UsageError


@dataclass(frozen=True)
class _Loaded:
    module: ModuleType
    files: Mapping[str, Path]
    content: str
    before: frozenset[str]


_root = ""
_loaded: dict[Path, _Loaded] = {}


def use_root(root: str) -> None:
    """Say where the files of targets are in this process: the absolute folder of the protocol."""
    global _root  # noqa: PLW0603  (one command works on one protocol)
    _root = root


def root() -> str:
    """The absolute folder of the protocol at work; empty where there is none."""
    return _root


def packages_of_target(text: str) -> set[str]:
    """The top-level names of the modules that are the target's own, to place its errors."""
    target = parsed(text)
    if not target.is_file:
        return {target.module.partition(".")[0]}
    known = _loaded.get(Path(_root, target.module).resolve()) if _root else None
    own = {name.partition(".")[0] for name in known.files if name} if known else set()
    return {_private(target), *own}


def load(text: str) -> Any:
    """The class or function that a target names, imported when it is first asked for.

    Raises :class:`UsageError` where it cannot be a target, and
    :class:`~normbench.errors.ComponentError` where importing it raises.
    """
    target = parsed(text)
    with guarding(packages_of_target(text), UsageError), contextlib.redirect_stdout(sys.stderr):
        if target.is_file:
            known = _module_of_file(target)
            own = {_private(target), *(name for name in known.files if name)}
            return _own(target, known.module, own)
        check_package(target, _root)
        module = importlib.import_module(target.module)
        return _own(target, module, {target.module.partition(".")[0]})


def made(
    text: str, args: Mapping[str, Any], values: Mapping[str, Any], first: str | None = None
) -> Any:
    """What a target gives, called with the arguments of the protocol.

    ``values`` are what ``"$channels"`` and the like stand for. Where no argument asks for any of
    them, that of the name ``first`` is the only positional argument. What the target raises is a
    :class:`~normbench.errors.ComponentError`; :class:`~normbench.errors.UndefinedError` passes.
    """
    called = load(text)
    given = filled(args, values)
    leading = () if first is None or asks(args) else (values[first],)
    with guarding(packages_of_target(text)), contextlib.redirect_stdout(sys.stderr):
        return called(*leading, **given)


def refuse_unseen(text: str) -> None:
    """Raise :class:`UsageError` if running a target imported what no identity covers.

    A function may import a module when it is called, in a way that its source does not show.
    """
    target = parsed(text)
    path = Path(_root, target.module).resolve()
    known = _loaded.get(path) if target.is_file else None
    if known is not None:
        new = sys.modules.keys() - known.before - {_private(target)}
        _refuse_unseen(target, path.parent, known.files, new)


def forget_edited(text: str) -> None:
    """Drop what was imported of a target's file if other code lies there now.

    So a process that works on a protocol again after an edit imports it anew.
    """
    target = parsed(text)
    path = target.file(_root).resolve() if target.is_file else None
    known = _loaded.get(path) if path is not None else None
    if path is None or known is None or known.content == content_of(local_sources(path)):
        return
    del _loaded[path]
    for name, file in known.files.items():
        module = sys.modules.get(name or _private(target))
        if module is not None and _is_at(module, file):
            del sys.modules[name or _private(target)]
    importlib.invalidate_caches()


def _private(target: Target) -> str:
    """The name under which a target's file is loaded: no other module has it."""
    mark = hashlib.sha256(str(Path(_root, target.module)).encode()).hexdigest()[:8]
    return f"_normbench_{PurePosixPath(target.module).stem}_{mark}"


def _module_of_file(target: Target) -> _Loaded:
    path = target.file(_root).resolve()
    if path in _loaded:
        return _loaded[path]
    files = local_sources(path)
    before, content, name = frozenset(sys.modules), content_of(files), _private(target)
    append_folder(path.parent)
    spec = importlib.util.spec_from_file_location(name, path, loader=SourceLoader(name, str(path)))
    if spec is None or spec.loader is None:
        raise UsageError(f"the target {target} cannot be loaded from {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    _refuse_unseen(target, path.parent, files, sys.modules.keys() - before - {name})
    if content_of(files) != content:
        raise UsageError(f"the code of the target {target} changed while it was imported")
    _loaded[path] = _Loaded(module, files, content, before)
    return _loaded[path]


def _refuse_unseen(target: Target, folder: Path, files: Mapping[str, Path], new: Set[str]) -> None:
    """Refuse modules of the folder that no statement of a source names, or another folder's."""
    installed = [Path(p).resolve() for p in sys.path if p and Path(p).resolve() != folder]
    seen = {path.resolve() for path in files.values()}
    seen |= {path for other in _loaded.values() for path in other.files.values()}
    for name in sorted(new):
        place = getattr(sys.modules.get(name), "__file__", None)
        if not place:
            continue
        path = Path(place).resolve()
        inside = path.is_relative_to(folder) and path not in seen
        if inside and not any(
            path.is_relative_to(p) and p.is_relative_to(folder) for p in installed
        ):
            raise UsageError(
                f"the target {target} imports {path.name} in a way that cannot be seen in its "
                f"source, so that nothing could say which code ran; likely fix: import {name} "
                "by an import statement"
            )
    for name, path in files.items():
        module = sys.modules.get(name) if name else None
        if module is not None and not _is_at(module, path):
            raise UsageError(
                f"the target {target} needs the module {name} in {folder}, and another of that "
                f"name is loaded already ({getattr(module, '__file__', '?')}); likely fix: rename "
                "one of them"
            )


def _is_at(module: ModuleType, path: Path) -> bool:
    place = getattr(module, "__file__", None)
    return place is not None and Path(place).resolve() == path.resolve()


def _own(target: Target, module: ModuleType, own: set[str]) -> Any:
    """The attribute of a module, if it is a class or a function that is defined there."""
    try:
        found = getattr(module, target.attribute)
    except AttributeError:
        import difflib

        names = [name for name in vars(module) if not name.startswith("_")]
        close = difflib.get_close_matches(target.attribute, names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(names[:20])}"
        raise UsageError(f"{target.module} has no {target.attribute}; {hint}") from None
    home = str(getattr(found, "__module__", None) or "")
    is_code = isinstance(found, type | FunctionType) or hasattr(found, "__wrapped__")
    if not is_code:
        raise UsageError(
            f"a target is a class or a function; {target} is {type(found).__name__}; likely fix: "
            "write a function that returns what you want"
        )
    if home not in own and home.partition(".")[0] not in own:
        raise UsageError(
            f"a target is defined in the file or package that it names; {target.attribute} is "
            f"only imported there, from {home}; likely fix: write {home}:{target.attribute}, or a "
            "function of your own that calls it"
        )
    return found
