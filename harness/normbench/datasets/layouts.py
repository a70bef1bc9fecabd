"""Finding the photos of a folder, whichever of three layouts it has.

========================  =====================================================  ==============
layout                    files                                                  class
========================  =====================================================  ==============
flat files                ``cat.12.jpg``, ``dog.3.jpg``                          before the dot
one folder per class      ``cats/a.jpg``, ``dogs/b.jpg``                         the folder
Microsoft's zip           ``PetImages/Cat/12.jpg``, ``PetImages/Dog/3.jpg``      the folder
========================  =====================================================  ==============

A folder to train on or ``PetImages`` that holds either of them may stand around it, once more
within itself too (``training_set/training_set/cats``); the parts for testing beside it (``test1``
in Kaggle's zip has no labels) are left alone. Which names are parts says
:mod:`normbench.datasets.parts`; a part is never taken for a class.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from normbench.datasets.names import few_of, printable
from normbench.datasets.parts import hints_at, may_be_class, part_of
from normbench.errors import DataMissingError, UsageError

#: Suffixes of files that are taken for images, in lower case.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp",
     ".ppm", ".pgm", ".pbm", ".pnm"}
)  # fmt: skip
#: Files of more bytes are no photos: the largest picture that is decoded has fewer as a bitmap.
LARGEST = 1 << 28
LAYOUTS = (
    "expected one of: flat files such as cat.12.jpg and dog.3.jpg (the class before the first "
    "dot), one folder per class, or PetImages/Cat and PetImages/Dog"
)


@dataclass(frozen=True)
class Photo:
    """One file: its name relative to the root (with ``/``), its class, and what tells it apart.

    That is its bytes, the times of change of its content and of its status, and its inode.
    """

    name: str
    label: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True)
class Listing:
    """The photos below ``root``, sorted by name, and the files that are none, with reasons.

    ``root`` is the folder that was asked for, or the one to train on within it.
    """

    root: Path
    photos: list[Photo]
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """The names of the classes, sorted: a class's position is its label."""
        return sorted({photo.label for photo in self.photos})


@dataclass(frozen=True)
class _Content:
    """What lies in one folder: image files, other files, folders; sorted, hidden ones left out."""

    images: list[os.DirEntry[str]]
    others: list[str]
    folders: list[str]


def _look(folder: Path) -> _Content:
    try:
        with os.scandir(folder) as entries:
            seen = sorted((e for e in entries if not e.name.startswith((".", "__"))),
                          key=lambda e: e.name)  # fmt: skip
    except NotADirectoryError as error:
        raise UsageError(
            f"a data set's path must be a folder; received the file {printable(folder)}; likely "
            "fix: unpack it if it is an archive, and give the folder that holds the photos"
        ) from error
    except OSError as error:
        raise UsageError(
            f"the folder {printable(folder)} cannot be read ({error.strerror or error}); likely "
            "fix: allow reading it, or give another path"
        ) from error
    around = os.path.realpath(folder)
    folders = [e.name for e in seen if _is_folder(e, around)]
    among = set(folders)
    files = [e for e in seen if e.name not in among]
    images = [e for e in files if Path(e.name).suffix.lower() in SUFFIXES]
    others = [e.name for e in files if Path(e.name).suffix.lower() not in SUFFIXES]
    return _Content(images, others, folders)


def _is_folder(entry: os.DirEntry[str], around: str) -> bool:
    """Whether an entry of the folder ``around`` is a folder, and no link in a circle."""
    try:
        if not entry.is_dir():
            return False
    except OSError:  # links that name each other: no folder, and no file either
        return False
    if not entry.is_symlink():
        return True
    return not Path(around).is_relative_to(os.path.realpath(entry.path))


def find_photos(folder: Path) -> Listing:
    """List the photos of ``folder`` with their classes. Nothing is opened.

    Hidden files and folders (names that begin with ``.`` or ``__``) are passed over. Raises
    :class:`DataMissingError` where there is no image at all, and :class:`UsageError` where the
    folder cannot be read, or where its layout is none of the three or a mixture.
    """
    root, content = folder, _look(folder)
    holding = {name: _look(root / name) for name in content.folders}
    for _ in range(4):
        inner = _around(root, content, holding)
        if inner is None:
            break
        root, content = root / inner, holding[inner]
        holding = {name: _look(root / name) for name in content.folders}
    if content.images:  # flat files, and perhaps photos for testing beside them
        holding = {name: inside for name, inside in holding.items() if part_of(name) != "aside"}
    deeper = [name for name, inside in holding.items() if inside.folders]
    if deeper:
        raise _too_far_up(root, deeper, holding)
    full = {name: inside for name, inside in holding.items() if inside.images}
    if content.images and full:
        raise UsageError(
            f"mixed layouts in {printable(root)}: image files "
            f"({few_of(e.name for e in content.images)}) beside folders with images "
            f"({few_of(full)}); {LAYOUTS}; likely fix: keep one of them in a folder of its own"
        )
    if content.images:
        return _flat(root, content)
    if not full:
        raise DataMissingError(
            f"there is no image in {printable(root)} (found {_found(content)}); {LAYOUTS}; likely "
            "fix: unpack the photos there, or give the folder that holds them as path"
        )
    return _by_folder(root, content, holding)


def _too_far_up(root: Path, deeper: list[str], holding: dict[str, _Content]) -> UsageError:
    """The refusal of folders that hold folders; a part for testing is never proposed."""
    name = min(deeper, key=lambda one: (hints_at(one) != "train", hints_at(one) == "aside"))
    inner = holding[name].folders
    said = (
        f"wrong layout in {printable(root)}: the folder {printable(name)!r} holds folders "
        f"({few_of(inner)}); {LAYOUTS}; likely fix: "
    )
    if all(part_of(one) for one in inner) and part_of(name) is None:
        said += "put the photos of a class directly into its folder, those to train on alone"
    elif hints_at(name) == "aside":
        said += "give the folder that holds the classes to train on as path"
    else:
        said += f"give the folder that holds the classes as path, perhaps {printable(root / name)}"
    return UsageError(said)


def _around(root: Path, content: _Content, holding: dict[str, _Content]) -> str | None:
    """The folder to train on, or ``PetImages``, to go down into, if there is one."""
    full = [name for name, inside in holding.items() if inside.images or inside.folders]
    named = [n for n in full if part_of(n) == "train" or n.lower() == "petimages"]
    others = [n for n in full if n not in named and part_of(n) is None]
    if len(named) > 1:
        raise UsageError(
            f"mixed layouts in {printable(root)}: both {' and '.join(map(printable, named))} are "
            "there; likely fix: give one of them as path"
        )
    if not named or content.images:
        return None
    return None if others else named[0]


def _flat(root: Path, content: _Content) -> Listing:
    unnamed = [e.name for e in content.images if not _label(e.name)]
    if unnamed:
        raise UsageError(
            f"wrong layout in {printable(root)}: {len(unnamed)} of {len(content.images)} image "
            f"files have no class in their names ({few_of(unnamed)}); {LAYOUTS}; likely fix: if "
            "these are photos to test that have no labels, give the folder of those to train on"
        )
    labels = {_label(e.name) for e in content.images}
    parts = sorted(label for label in labels if not may_be_class(label))
    if parts:
        raise UsageError(
            f"wrong layout in {printable(root)}: {parts[0]!r}, before the first dot of image "
            "files, names a part of a data set, and is no class; likely fix: name the files "
            "after their classes (normbench splits the photos itself)"
        )
    skipped = _none_images(root, root, content.others)
    photos = [_photo(root, root, e, _label(e.name), skipped) for e in content.images]
    return Listing(root, [photo for photo in photos if photo], skipped)


def _label(name: str) -> str:
    """The class in a flat file's name; empty where there is none."""
    return name.split(".")[0] if name.count(".") >= 2 else ""


def _by_folder(root: Path, content: _Content, holding: dict[str, _Content]) -> Listing:
    _refuse_parts(root, holding)
    photos: list[Photo | None] = []
    skipped = _none_images(root, root, content.others)
    for name, inside in holding.items():
        photos += [_photo(root, root / name, e, name, skipped) for e in inside.images]
        skipped |= _none_images(root, root / name, inside.others)
        if not inside.images:
            skipped[f"{name}/"] = "a folder without images"
    return Listing(root, sorted((p for p in photos if p), key=lambda p: p.name), skipped)


def _refuse_parts(root: Path, holding: dict[str, _Content]) -> None:
    """Raise :class:`UsageError` where a folder among the classes is a part of a data set.

    ``train`` alone may be a class, beside two others and where its files name no classes.
    """
    classes = [name for name in holding if not part_of(name) and holding[name].images]
    parts = [name for name in holding if not may_be_class(name)]
    if all(hints_at(name) for name in classes):  # dogs_train and dogs_test
        parts += classes
        classes = []
    for name in holding:
        if part_of(name) and may_be_class(name):
            labels = Counter(_label(e.name) for e in holding[name].images)
            labelled = len(labels) > 1 and "" not in labels and min(labels.values()) > 1
            parts += [name] if labelled or len(classes) < 2 else []
    if parts and classes:
        name = printable(parts[0])
        raise UsageError(
            f"wrong layout in {printable(root)}: the folder {name!r} stands among the classes "
            f"({few_of(holding)}), and its name is that of a part of a data set; likely fix: move "
            f"the classes into a folder train, or {name!r} elsewhere (normbench splits the photos "
            "itself); if it is a class, give it another name"
        )
    if parts:
        raise UsageError(
            f"wrong layout in {printable(root)}: {few_of(holding)} are parts of a data set by "
            "their names, and no classes; likely fix: give the folder of the photos to train on, "
            "or put it beside the others with the name train"
        )


def _photo(
    root: Path, parent: Path, entry: os.DirEntry[str], label: str, skipped: dict[str, str]
) -> Photo | None:
    """The photo, or None for what cannot be one, which is then ``skipped`` with the reason."""
    try:
        status = entry.stat()
    except OSError as error:
        raise UsageError(
            f"{printable(parent / entry.name)} cannot be read ({error.strerror or error}); likely "
            "fix: mend or remove that file"
        ) from error
    name = (parent / entry.name).relative_to(root).as_posix()
    if not stat.S_ISREG(status.st_mode):
        skipped[name] = "no file, but a pipe, a socket or a device"
    elif status.st_size > LARGEST:
        skipped[name] = (
            f"{status.st_size / (1 << 20):,.0f} MiB; a photo may have {LARGEST >> 20} MiB"
        )
    else:
        return Photo(
            name, label, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
        )
    return None


def _none_images(root: Path, parent: Path, names: Iterable[str]) -> dict[str, str]:
    place = parent.relative_to(root)
    return {(place / name).as_posix(): "no image by its name's ending" for name in names}


def check_classes(listing: Listing, labels: Iterable[str], what: str) -> None:
    """Raise :class:`UsageError` unless there are two classes or more, of two items or more.

    ``labels`` are the classes of those items that count, and ``what`` says what they are, such
    as "readable images"; a class of the listing without any counts as a class of none.
    """
    counts = Counter(dict.fromkeys(listing.classes, 0))
    counts.update(labels)
    if sum(n > 0 for n in counts.values()) < 2:
        raise UsageError(
            f"a data set needs at least two classes; {printable(listing.root)} has {what} of one "
            f"class only ({_counted(counts)}); {LAYOUTS}; likely fix: add the other classes, or "
            "give the folder above as path"
        )
    few = {name: n for name, n in counts.items() if n < 2}
    if few:
        raise UsageError(
            f"every class needs at least 2 {what}; {printable(listing.root)} has fewer in "
            f"{len(few)} of {len(counts)} classes ({_counted(few)}); {LAYOUTS}; likely fix: add "
            "photos, or remove these classes"
        )


def _counted(counts: dict[str, int]) -> str:
    return few_of(f"{name}: {n}" for name, n in sorted(counts.items()))


def _found(content: _Content) -> str:
    parts = [("folders", content.folders), ("other files", content.others)]
    return ", ".join(f"{kind}: {few_of(names)}" for kind, names in parts if names) or "nothing"
