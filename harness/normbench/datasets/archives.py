"""Data sets that can be fetched from the network: where from, and where to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from normbench.datasets.download import Known, Progress, fetch_file
from normbench.datasets.photos import cats_and_dogs_folder
from normbench.datasets.unpack import unpack
from normbench.errors import UsageError


@dataclass(frozen=True)
class Fetchable:
    """An archive that becomes the folder of a data set; ``terms`` says whose it is."""

    archive: Known
    folder: Callable[[], Path]
    terms: str


ARCHIVES = {
    "dogs-vs-cats": Fetchable(
        Known(
            "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/"
            "kagglecatsanddogs_5340.zip",
            824_887_076,
            "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
        ),
        lambda: cats_and_dogs_folder({"path": ""}),
        "the Asirra photos (Elson et al. 2007), given by Microsoft for research",
    ),
}


def fetch(
    name: str, folder: Path | None, url: str, progress: Callable[[str], Progress]
) -> tuple[Path, int]:
    """Fetch and unpack a data set; its folder, and how many files there are now.

    It lies in ``folder``, or where its data set looks for it. One that is there is left alone, and
    counts 0. ``progress`` gives for what is done next a function that is told how far it is. Raises
    :class:`UsageError` for a folder that holds something, and
    :class:`~normbench.errors.WorkError` where it cannot be fetched.
    """
    one = ARCHIVES[name]
    known = replace(one.archive, url=url or one.archive.url)
    goal = (folder or one.folder()).absolute()
    if goal.exists() and (not goal.is_dir() or any(goal.iterdir())):
        return goal, 0
    goal.parent.mkdir(parents=True, exist_ok=True)
    path = goal.with_name(f"{goal.name}.zip")
    try:
        with FileLock(goal.with_name(f"{goal.name}.lock"), timeout=0):
            if not path.exists():
                fetch_file(known, path, progress(f"fetching {known.name}"))
            if goal.exists():
                goal.rmdir()  # it is empty
            count = unpack(path, goal, progress("unpacking"))
            path.unlink()
    except Timeout:
        raise UsageError(f"another process is fetching to {goal}; wait for it") from None
    return goal, count
