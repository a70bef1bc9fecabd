"""Data sets that torchvision knows, read from its files; ``classes`` chooses some of them.

Their own parts are kept: what torchvision calls train is divided into training and validation, and
its test part is the test.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.catalog.entries import nearest
from normbench.datasets.about import About
from normbench.datasets.base import Arrays
from normbench.datasets.given import FREE, TEST
from normbench.datasets.layouts import Listing, Photo
from normbench.datasets.names import cut, few_of
from normbench.datasets.photos import DATA_VARIABLE, decoded
from normbench.datasets.place import as_path, beside_protocol
from normbench.errors import DataMissingError, UsageError, WorkError


def _folder(params: Mapping[str, Any]) -> Path:
    path = str(params["path"])
    if path:
        return beside_protocol(path)
    own = os.environ.get(DATA_VARIABLE, "")
    around = as_path(own or "data", f"the environment variable {DATA_VARIABLE}")
    return around / "torchvision"


@dataclass(frozen=True)
class TorchvisionSet:
    """A data set by its class in torchvision: ``path`` and ``classes``.

    ``files`` is what lies in the folder where it is there, ``shape`` that of a picture, ``parts``
    the parts' keywords, and ``read`` gives of one part's object uint8 pictures (items, C, H, W),
    class numbers and the classes' names.
    """

    name: str
    files: tuple[str, ...]
    items: int
    classes: int
    shape: tuple[int, ...]
    parts: tuple[Mapping[str, Any], Mapping[str, Any]]
    read: Callable[[Any], tuple[Any, Any, Sequence[str]]]

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """None if its files are there, else how to get them."""
        folder = _folder(params)
        absent = [name for name in self.files if not (folder / name).exists()]
        if not absent:
            return None
        return (
            f"there is no {cut(folder / absent[0], 1000)}; run `normbench data fetch {self._full}` "
            f"or put torchvision's files there: the folder is the parameter path, else torchvision "
            f"in the folder that the environment variable {DATA_VARIABLE} names, else in data"
        )

    @property
    def _full(self) -> str:
        return f"torchvision:{self.name}"

    def about(self, params: Mapping[str, Any]) -> About:
        """What it holds, without reading it."""
        chosen = len(params["classes"])
        return About(None if chosen else self.items, self.shape, chosen or self.classes)

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """Its pictures as uint8.

        Raises :class:`DataMissingError` where they are not here, or damaged, and
        :class:`UsageError` for classes that there are not.
        """
        missing = self.missing(params)
        if missing:
            raise DataMissingError(f"the data set {self._full} is not on this machine: {missing}")
        pictures, labels = [], []
        names: Sequence[str] = ()
        for part in self.parts:
            x, y, names = self.read(self._opened(_folder(params), part))
            pictures.append(np.asarray(x, dtype=np.uint8))
            labels.append(np.asarray(y, dtype=np.int64))
        given = np.repeat(np.array([FREE, TEST], np.int8), [len(y) for y in labels])
        x, y = np.concatenate(pictures), np.concatenate(labels)
        kept, y = only(tuple(params["classes"]), y, names, self._full)
        if not kept.all():
            x, y, given = x[kept], y[kept], given[kept]
        key = f"{self._full}/1/{'+'.join(params['classes'])}/{len(y)}"
        classes = len(params["classes"]) or len(names)
        return Arrays(key, np.ascontiguousarray(x), y, classes, given=given)

    def _opened(self, folder: Path, part: Mapping[str, Any], download: bool = False) -> Any:
        from torchvision import datasets

        with contextlib.redirect_stdout(sys.stderr):
            try:
                return getattr(datasets, self.name)(str(folder), download=download, **part)
            except (RuntimeError, OSError, ValueError) as error:
                if download:
                    raise WorkError(f"{self._full} cannot be fetched: {cut(error, 500)}") from error
                raise DataMissingError(
                    f"the files of {self._full} in {folder} are not all there, or damaged "
                    f"({cut(error, 300)}); likely fix: normbench data fetch {self._full}"
                ) from error

    def fetch(self, folder: Path | None) -> Path:
        """Have torchvision fetch its files, which it checks; the folder that they are in."""
        goal = folder or _folder({"path": ""})
        goal.mkdir(parents=True, exist_ok=True)
        for part in self.parts:
            self._opened(goal, part, download=True)
        return goal


def only(
    wanted: tuple[str, ...], labels: NDArray[np.int64], names: Sequence[str], source: str
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which items are of the wanted classes, and all labels, numbered as the classes are listed.

    All classes where none is listed. Raises :class:`UsageError` for names that there are not.
    """
    if not wanted:
        return np.ones(len(labels), np.bool_), labels
    known = {name.casefold(): number for number, name in enumerate(names)}
    numbers = np.full(len(names), -1, np.int64)
    for place, name in enumerate(wanted):
        if name.casefold() not in known:
            close = nearest(name, known)
            hint = f"did you mean {close!r}? " if close else ""
            raise UsageError(
                f"{source} has no class {cut(name)!r}; {hint}it has {few_of(names, 40)}"
            )
        numbers[known[name.casefold()]] = place
    if len(wanted) < 2 or (numbers >= 0).sum() != len(wanted):
        raise UsageError(
            f"classes lists at least two, each once; received {few_of(wanted)} for {source}"
        )
    renumbered: NDArray[np.int64] = numbers[labels]
    return renumbered >= 0, renumbered


def _of_arrays(opened: Any) -> tuple[Any, Any, Sequence[str]]:
    return opened.data.transpose(0, 3, 1, 2), opened.targets, opened.classes


def _of_tensors(opened: Any) -> tuple[Any, Any, Sequence[str]]:
    return opened.data.numpy()[:, None], opened.targets.numpy(), opened.classes


def _of_digits(opened: Any) -> tuple[Any, Any, Sequence[str]]:
    return opened.data, opened.labels, [str(digit) for digit in range(10)]


_TRAIN_TEST: Any = ({"train": True}, {"train": False})


def _idx(name: str) -> tuple[str, ...]:
    return (f"{name}/raw",)


CIFAR10 = TorchvisionSet(
    "CIFAR10", ("cifar-10-batches-py",), 60_000, 10, (3, 32, 32), _TRAIN_TEST, _of_arrays
)
MNIST = TorchvisionSet("MNIST", _idx("MNIST"), 70_000, 10, (1, 28, 28), _TRAIN_TEST, _of_tensors)
FASHION_MNIST = TorchvisionSet(
    "FashionMNIST", _idx("FashionMNIST"), 70_000, 10, (1, 28, 28), _TRAIN_TEST, _of_tensors
)
SVHN = TorchvisionSet(
    "SVHN", ("train_32x32.mat", "test_32x32.mat"), 99_289, 10, (3, 32, 32),
    ({"split": "train"}, {"split": "test"}), _of_digits,
)  # fmt: skip


class OxfordPets(TorchvisionSet):
    """37 breeds of cats and dogs; ``classes`` may be breeds, or ``cat`` and ``dog``."""

    def about(self, params: Mapping[str, Any]) -> About:
        """What it holds, without reading it."""
        chosen, side = len(params["classes"]), int(params["resolution"])
        kinds = {name.casefold() for name in params["classes"]} == {"cat", "dog"}
        items = self.items if not chosen or kinds else None
        return About(items, (3, side, side), chosen or self.classes)

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """Its photos, cropped and scaled as all photos are, from the cache."""
        missing = self.missing(params)
        if missing:
            raise DataMissingError(f"the data set {self._full} is not on this machine: {missing}")
        base = _folder(params) / "oxford-iiit-pet"
        breeds, kinds, photos, parts = list[int](), list[int](), list[Photo](), list[int]()
        names: dict[int, str] = {}
        for number, part in ((FREE, "trainval"), (TEST, "test")):
            for line in _lines(base / "annotations" / f"{part}.txt"):
                name, breed, kind, _ = line.split()
                names[int(breed) - 1] = name.rpartition("_")[0].replace("_", " ")
                photos.append(_photo(base / "images" / f"{name}.jpg", names[int(breed) - 1]))
                breeds.append(int(breed) - 1)
                kinds.append(int(kind) - 1)
                parts.append(number)
        wanted = tuple(params["classes"])
        both = {name.casefold() for name in wanted} <= {"cat", "dog"} and bool(wanted)
        numbers = np.array(kinds if both else breeds)
        listed = ["cat", "dog"] if both else [names[i] for i in sorted(names)]
        resolution = int(params["resolution"])
        cached = decoded(self._full.replace(":", "-"), Listing(base / "images", photos), resolution)
        used = np.array([photo.name not in cached.notes["skipped"] for photo in photos])
        given, labels = np.array(parts, np.int8)[used], numbers[used]
        kept, labels = only(wanted, labels, listed, self._full)
        images = cached.images if kept.all() else cached.images[kept]
        key = f"{self._full}/1/{resolution}/{'+'.join(wanted)}/{int(kept.sum())}"
        return Arrays(
            key, images, labels[kept], len(wanted) or len(listed), given=given[kept],
            read_by=f"Pillow {cached.notes['pillow']}", known=(cached.images, cached.digest),
        )  # fmt: skip


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError) as error:
        raise DataMissingError(f"{path} cannot be read: {cut(error)}") from error
    found = [line for line in lines if line and not line.startswith("#")]
    if any(len(line.split()) != 4 or not all(map(str.isdigit, line.split()[1:])) for line in found):
        raise DataMissingError(f"{path} is damaged; likely fix: fetch the data set again")
    return found


def _photo(path: Path, label: str) -> Photo:
    try:
        status = path.stat()
    except OSError as error:
        raise DataMissingError(
            f"{path} is not there; likely fix: fetch the data set again"
        ) from error
    return Photo(
        path.name, label, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    )


OXFORD_PETS = OxfordPets(
    "OxfordIIITPet", ("oxford-iiit-pet/images", "oxford-iiit-pet/annotations"), 7_349, 37,
    (3, 224, 224), ({"split": "trainval"}, {"split": "test"}), _of_arrays,
)  # fmt: skip
