"""Photos from a folder: cats and dogs (Asirra; Elson et al. 2007, CCS), or any classes.

Photos are decoded once and kept by :mod:`normbench.datasets.cache`. Threads decode them, for
Pillow frees the GIL meanwhile and threads start at once: on two cores processes took a third
longer for 2,000 photos.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.about import About
from normbench.datasets.base import Arrays
from normbench.datasets.cache import Append, Cached, load_or_make, log_beside
from normbench.datasets.decode import UnreadableError, read_photo
from normbench.datasets.digest import Skipped
from normbench.datasets.hashes import file_digests
from normbench.datasets.layouts import Listing, Photo, check_classes, find_photos
from normbench.datasets.names import cut, few_of, printable
from normbench.datasets.parallel import bar, in_order
from normbench.datasets.place import as_path, beside_protocol
from normbench.datasets.split import stratified_subset
from normbench.errors import DataMissingError, UsageError

#: Environment variable that names the folder in which data sets lie.
DATA_VARIABLE = "NORMBENCH_DATA"
#: Raised when cropping or labelling changes, so that results of both are told apart.
VERSION = 1
#: Raised when decoding changes for some files alone, so that old caches are not used.
READER = 2


def _given_folder(params: Mapping[str, Any]) -> Path | None:
    path = str(params["path"])
    return beside_protocol(path) if path else None


def cats_and_dogs_folder(params: Mapping[str, Any]) -> Path:
    """Where the photos of cats and dogs are looked for."""
    own = os.environ.get(DATA_VARIABLE, "")
    around = as_path(own or "data", f"the environment variable {DATA_VARIABLE}")
    return _given_folder(params) or around / "dogs-vs-cats"


def _cats_and_dogs(listing: Listing) -> list[str]:
    """The classes cat and dog, however they are spelled: Cat, cats, DOG."""
    names = {photo.label: photo.label.lower().removesuffix("s") for photo in listing.photos}
    others = sorted(label for label, name in names.items() if name not in ("cat", "dog"))
    if others:
        raise UsageError(
            f"dogs-vs-cats has the classes cat and dog; {printable(listing.root)} has "
            f"{few_of(others)}; "
            'likely fix: give the right folder, or use the data set "image-folder"'
        )
    return [names[photo.label] for photo in listing.photos]


def _as_named(listing: Listing) -> list[str]:
    return [photo.label for photo in listing.photos]


@dataclass(frozen=True)
class PhotoFolder:
    """A data set of the catalogue that reads photos: ``path``, ``resolution``, ``items``.

    ``place`` gives the folder for the parameters, ``label`` the class of each photo and
    ``how`` what to do where the folder is missing.
    """

    name: str
    place: Callable[[Mapping[str, Any]], Path | None]
    label: Callable[[Listing], list[str]]
    how: str

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """None if the folder is there, else how to get the photos."""
        folder = self.place(params)
        if folder is None:
            return f"no path is given; {self.how}"
        try:
            folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            return f"there is no folder {cut(folder, 1000)}; {self.how}"
        except OSError as error:
            raise UsageError(
                f"the folder {few_of([str(folder)])} cannot be read ({error.strerror}); likely "
                "fix: allow reading it, or give another path"
            ) from error
        return None

    def about(self, params: Mapping[str, Any]) -> About:
        """What is known without decoding the photos."""
        resolution, folder = int(params["resolution"]), self.place(params)
        shape = (3, resolution, resolution)
        if folder is None or self.missing(params):
            return About(shape=shape)
        listing = find_photos(folder)
        items = int(params["items"]) or len(listing.photos)
        return About(items, shape, len(set(self.label(listing))))

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """The photos as uint8 of shape (items, 3, resolution, resolution), sorted by name.

        Without ``items`` they are mapped from the cache and shared by all processes. Classes
        sorted by name are the labels. Raises :class:`DataMissingError` where the folder or all
        images are missing, and :class:`UsageError` for what a folder cannot be (see
        :func:`~normbench.datasets.layouts.find_photos`).
        """
        folder, missing = self.place(params), self.missing(params)
        if folder is None or missing:
            raise DataMissingError(f"the data set {self.name} is not on this machine: {missing}")
        listing = find_photos(folder)
        labels = self.label(listing)
        named = zip(listing.photos, labels, strict=True)
        listing = replace(listing, photos=[replace(p, label=c) for p, c in named])
        check_classes(listing, labels, "images")
        resolution, items = int(params["resolution"]), int(params["items"])
        cached = decoded(self.name, listing, resolution)
        key = f"{self.name}/{VERSION}/{resolution}/{items}/{_names(listing, cached)}"
        files = len(listing.photos) + len(listing.skipped)
        skipped = Skipped(cached.notes["skipped"], files, str(log_beside(cached.path)))
        images, labels_ = cached.images, cached.labels
        if items:
            chosen = stratified_subset(labels_, f"{self.name}/{VERSION}", items)
            images, labels_ = images[chosen], labels_[chosen]
            fewest = np.bincount(labels_, minlength=len(listing.classes)).min()
            if fewest < 2:
                raise UsageError(
                    f"items must leave at least 2 photos of each of {len(listing.classes)} "
                    f"classes; received items = {items}, which leaves {fewest} of one"
                )
        return Arrays(
            key, images, labels_, len(listing.classes), skipped=skipped,
            read_by=f"Pillow {cached.notes['pillow']}", known=(cached.images, cached.digest),
        )  # fmt: skip


def decoded(name: str, listing: Listing, resolution: int) -> Cached:
    """The photos of a listing, decoded once and kept: in their order, without those in its notes.

    ``name`` is the data set's.
    """
    digests = file_digests(listing.root, listing.photos)
    content = [(p.name, digest) for p, digest in zip(listing.photos, digests, strict=True)]
    identity = [name, VERSION, READER, resolution, content, sorted(listing.skipped.items())]
    return load_or_make(
        f"{name}-{resolution}px",
        identity,
        (3, resolution, resolution),
        lambda append: _decode(listing, digests, resolution, append),
    )


def _names(listing: Listing, cached: Cached) -> str:
    """A digest of the names and sizes of the photos in use: the same on every machine."""
    used = [(p.name, p.size) for p in listing.photos if p.name not in cached.notes["skipped"]]
    return hashlib.sha256(json.dumps(used).encode()).hexdigest()[:12]


def _decode(
    listing: Listing, digests: Sequence[str], resolution: int, append: Append
) -> dict[str, Any]:
    from PIL import Image, __version__

    def read(one: tuple[Photo, str]) -> NDArray[np.uint8] | UnreadableError:
        photo, digest = one
        try:
            return read_photo(listing.root / photo.name, resolution, digest)
        except UnreadableError as error:
            return error

    total = len(listing.photos)
    number = {name: i for i, name in enumerate(listing.classes)}
    skipped, used = dict(listing.skipped), []
    Image.init()  # all formats now, not by several threads at once
    with warnings.catch_warnings(), bar(f"decoding {total:,} photos", total) as step:
        # oddities in EXIF and large sizes; what matters is raised, and then listed
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for (photo, _), image in in_order(read, zip(listing.photos, digests, strict=True)):
            step()
            if isinstance(image, UnreadableError):
                skipped[photo.name] = str(image)
            else:
                append(image, number[photo.label])
                used.append(photo.label)
    if not used:
        reasons = few_of(f"{name}: {why}" for name, why in skipped.items())
        raise UsageError(
            f"none of the {total} image files in {printable(listing.root)} can be read "
            f"({reasons}); likely fix: get them again, they were damaged on the way"
        )
    check_classes(listing, used, "readable images")
    return {"skipped": skipped, "classes": listing.classes, "pillow": __version__}


DOGS_VS_CATS = PhotoFolder(
    "dogs-vs-cats",
    cats_and_dogs_folder,
    _cats_and_dogs,
    "run `normbench data fetch dogs-vs-cats` (Microsoft's Cats and Dogs, 825 MB), or unpack its "
    'PetImages or Kaggle\'s "Dogs vs. Cats" (its train.zip) there by hand, or say where it is: set '
    f"the environment variable {DATA_VARIABLE} to the folder that holds dogs-vs-cats, or the "
    'parameter path. Without photos use the data set "pets", which is drawn',
)
IMAGE_FOLDER = PhotoFolder(
    "image-folder",
    _given_folder,
    _as_named,
    'set the parameter path to a folder of photos: dataset = { name = "image-folder", '
    'path = "FOLDER" }',
)
