"""Folders that are parts of a data set, such as ``train`` and ``test_set``, by their names."""

from __future__ import annotations

import re
from typing import Literal

_TRAIN = frozenset({"train", "training", "trainval", "trainvalid"})
_ASIDE = frozenset(
    {"test", "testing", "val", "valid", "validation", "validate", "eval", "evaluation", "dev",
     "devel", "development", "holdout", "heldout", "unlabeled", "unlabelled"}
)  # fmt: skip
#: Words that may stand after such a name or before it: ``test_set``, ``images-val``.
_FILLING = "sets|set|datasets|dataset|data|images|image|imgs|img|photos|photo|pictures|pics|split"
_AFTER, _BEFORE = re.compile(rf"(.+?)({_FILLING})"), re.compile(rf"({_FILLING})(.+)")

Part = Literal["train", "aside"]


def part_of(name: str) -> Part | None:
    """``train`` for a folder to train on, ``aside`` for one to test or validate; else None.

    Capitals, digits and what stands between words do not count: ``Training_Set``, ``test1`` and
    ``hold-out`` are parts. So is ``dev``, which could be a class: where it stands among classes,
    a folder is ambiguous.
    """
    word = re.sub(r"[\W\d_]", "", name.lower())
    for _ in range(3):
        if word in _TRAIN:
            return "train"
        if word in _ASIDE:
            return "aside"
        shorter = _AFTER.fullmatch(word)
        if shorter is not None:
            word = shorter.group(1)
            continue
        shorter = _BEFORE.fullmatch(word)
        if shorter is None:
            return None
        word = shorter.group(2)
    return None


def hints_at(name: str) -> Part | None:
    """What a name says of a part among other words, such as ``kaggle_test``; ``aside`` wins."""
    whole = part_of(name)
    words = [part_of(word) for word in re.split(r"[\W\d_]+", name)]
    return whole or ("aside" if "aside" in words else "train" if "train" in words else None)


def may_be_class(name: str) -> bool:
    """Whether a name of a part is also that of a thing in photos: trains are."""
    return part_of(name) is None or name.lower() == "train"
