"""Finding the photos of a folder, whichever of three layouts it has.

========================  =====================================================  ==============
layout                    files                                                  class
========================  =====================================================  ==============
flat files                ``cat.12.jpg``, ``dog.3.jpg``                          before the dot
one folder per class      ``cats/a.jpg``, ``dogs/b.jpg``                         the folder
Microsoft's zip           ``PetImages/Cat/12.jpg``, ``PetImages/Dog/3.jpg``      the folder
========================  =====================================================  ==============

A folder ``train`` or ``PetImages`` that holds either of them may stand around it; the parts for
testing beside it (``test1`` in Kaggle's zip has no labels) are left alone.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from normbench.errors import DataMissingError, UsageError

#: Suffixes of files that are taken for images, in lower case.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp",
     ".ppm", ".pgm", ".pbm", ".pnm"}
)  # fmt: skip
#: Folders that may stand around the classes, and those that may stand beside such a folder.
AROUND = frozenset({"train", "petimages"})
ASIDE = frozenset({"test", "test1", "val", "valid", "validation"})
LAYOUTS = (
    "expected one of: flat files such as cat.12.jpg and dog.3.jpg (the class before the first "
    "dot), one folder per class, or PetImages/Cat and PetImages/Dog"
)


@dataclass(frozen=True)
class Photo:
    """One file: its name relative to the root (with ``/``), class, bytes and time of change."""

    name: str
    label: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Listing:
    """The photos below ``root``, sorted by name, and the files that are none, with reasons.

    ``root`` is the folder that was asked for, or the ``train`` or ``PetImages`` within it.
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
            folders = [e.name for e in seen if e.is_dir()]
            files = [e for e in seen if not e.is_dir()]
    except NotADirectoryError as error:
        raise UsageError(
            f"a data set's path must be a folder; received the file {folder}; likely fix: unpack "
            "it if it is an archive, and give the folder that holds the photos"
        ) from error
    except OSError as error:
        raise UsageError(
            f"the folder {folder} cannot be read ({error.strerror or error}); likely fix: allow "
            "reading it, or give another path"
        ) from error
    images = [e for e in files if Path(e.name).suffix.lower() in SUFFIXES]
    others = [e.name for e in files if Path(e.name).suffix.lower() not in SUFFIXES]
    return _Content(images, others, folders)


def find_photos(folder: Path) -> Listing:
    """List the photos of ``folder`` with their classes. Nothing is opened.

    Hidden files and folders (names that begin with ``.`` or ``__``) are passed over. Raises
    :class:`DataMissingError` where there is no image at all, and :class:`UsageError` where the
    folder cannot be read, or where its layout is none of the three or a mixture.
    """
    root, content = folder, _look(folder)
    holding = {name: _look(root / name) for name in content.folders}
    for _ in range(3):
        inner = _around(root, content, holding)
        if inner is None:
            break
        root, content = root / inner, holding[inner]
        holding = {name: _look(root / name) for name in content.folders}
    deeper = [name for name, inside in holding.items() if inside.folders]
    if deeper:
        raise UsageError(
            f"wrong layout in {root}: the folder {deeper[0]!r} holds folders "
            f"({few_of(holding[deeper[0]].folders)}); {LAYOUTS}; likely fix: give the folder "
            f"that holds the classes as path, perhaps {root / deeper[0]}"
        )
    full = {name: inside for name, inside in holding.items() if inside.images}
    if content.images:  # flat files, and perhaps photos for testing beside them
        full = {name: inside for name, inside in full.items() if name.lower() not in ASIDE}
    if content.images and full:
        raise UsageError(
            f"mixed layouts in {root}: image files ({few_of(e.name for e in content.images)}) "
            f"beside folders with images ({few_of(full)}); {LAYOUTS}; likely fix: keep one "
            "of them in a folder of its own"
        )
    if content.images:
        return _flat(root, content)
    if not full:
        raise DataMissingError(
            f"there is no image in {root} (found {_found(content)}); {LAYOUTS}; likely fix: "
            "unpack the photos there, or give the folder that holds them as path"
        )
    return _by_folder(root, content, holding)


def _around(root: Path, content: _Content, holding: dict[str, _Content]) -> str | None:
    """The folder ``train`` or ``PetImages`` to go down into, if there is one."""
    named = [name for name in holding if name.lower() in AROUND]
    beside = [
        name
        for name, inside in holding.items()
        if name.lower() not in AROUND | ASIDE and (inside.images or inside.folders)
    ]
    if len(named) > 1:
        raise UsageError(
            f"mixed layouts in {root}: both {' and '.join(named)} are there; likely fix: give "
            "one of them as path"
        )
    if not named or beside or content.images:
        return None
    return named[0]


def _flat(root: Path, content: _Content) -> Listing:
    unnamed = [e.name for e in content.images if e.name.count(".") < 2 or not e.name.split(".")[0]]
    if unnamed:
        raise UsageError(
            f"wrong layout in {root}: {len(unnamed)} of {len(content.images)} image files have "
            f"no class in their names ({few_of(unnamed)}); {LAYOUTS}; likely fix: if these are "
            "Kaggle's unlabelled test photos, give the folder train as path"
        )
    photos = [_photo(root, root, e, e.name.split(".")[0]) for e in content.images]
    return Listing(root, photos, _none_images(root, root, content.others))


def _by_folder(root: Path, content: _Content, holding: dict[str, _Content]) -> Listing:
    aside = [name for name in holding if name.lower() in ASIDE]
    if aside:
        raise UsageError(
            f"wrong layout in {root}: the folder {aside[0]!r} stands among the classes "
            f"({few_of(holding)}); likely fix: move the classes into a folder train, or "
            f"{aside[0]!r} elsewhere (normbench splits the photos itself)"
        )
    photos: list[Photo] = []
    skipped = _none_images(root, root, content.others)
    for name, inside in holding.items():
        photos += [_photo(root, root / name, e, name) for e in inside.images]
        skipped |= _none_images(root, root / name, inside.others)
        if not inside.images:
            skipped[f"{name}/"] = "a folder without images"
    return Listing(root, sorted(photos, key=lambda p: p.name), skipped)


def _photo(root: Path, parent: Path, entry: os.DirEntry[str], label: str) -> Photo:
    try:
        status = entry.stat()
    except OSError as error:
        raise UsageError(
            f"{parent / entry.name} cannot be read ({error.strerror or error}); likely fix: "
            "mend or remove that file"
        ) from error
    name = (parent / entry.name).relative_to(root).as_posix()
    return Photo(name, label, status.st_size, status.st_mtime_ns)


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
            f"a data set needs at least two classes; {listing.root} has {what} of one class "
            f"only ({_counted(counts)}); {LAYOUTS}; likely fix: add the other classes, or give "
            "the folder above as path"
        )
    few = {name: n for name, n in counts.items() if n < 2}
    if few:
        raise UsageError(
            f"every class needs at least 2 {what}; {listing.root} has fewer in {len(few)} of "
            f"{len(counts)} classes ({_counted(few)}); {LAYOUTS}; likely fix: add photos, or "
            "remove these classes"
        )


def _counted(counts: dict[str, int]) -> str:
    return few_of(f"{name}: {n}" for name, n in sorted(counts.items()))


def _found(content: _Content) -> str:
    parts = [("folders", content.folders), ("other files", content.others)]
    return ", ".join(f"{kind}: {few_of(names)}" for kind, names in parts if names) or "nothing"


def few_of(names: Iterable[str], most: int = 4) -> str:
    """The first few names, and how many more there are."""
    shown = list(names)
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
