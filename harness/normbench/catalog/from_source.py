"""Importing from a folder by its sources alone, never by bytecode that lies beside them.

What a user is shown and asked about, and what a run's identity covers, are sources. A ``.pyc`` file
that came with a folder may hold other code: Python trusts it where it has the date and the size of
its source. In folders that are named here it is neither read nor written.
"""

from __future__ import annotations

import importlib.machinery as machinery
import sys
from pathlib import Path
from types import CodeType

_folders: list[Path] = []


class SourceLoader(machinery.SourceFileLoader):
    """Compiles a module's source whenever it is imported."""

    def get_code(self, fullname: str) -> CodeType:
        """The code of the source as it lies there now."""
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def append_folder(folder: Path) -> None:
    """Put a folder at the end of ``sys.path``, to import from its sources."""
    if _finder not in sys.path_hooks:
        sys.path_hooks.insert(0, _finder)
    if folder not in _folders:
        _folders.append(folder)
        for place in list(sys.path_importer_cache):
            if Path(place).is_relative_to(folder):  # it was looked at before by Python's own
                del sys.path_importer_cache[place]
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _finder(place: str) -> machinery.FileFinder:
    """A finder for a folder that was named, or one below it; ``ImportError`` for all others."""
    path = Path(place)
    mine = [folder for folder in _folders if path.is_relative_to(folder)]
    if not mine or any(_between(path, folder) for folder in mine) or not path.is_dir():
        raise ImportError(f"{place} is imported from as usual")
    return machinery.FileFinder(
        place,
        (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
        (SourceLoader, machinery.SOURCE_SUFFIXES),
    )


def _between(path: Path, folder: Path) -> bool:
    """Whether a path is of something installed inside the folder, such as an environment there."""
    installed = (Path(place) for place in sys.path if place)
    return any(
        one != folder and one.is_relative_to(folder) and path.is_relative_to(one)
        for one in installed
    )
