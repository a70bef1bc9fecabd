"""Cats and dogs drawn by arithmetic, for machines that have no photos.

Item i of a version is the same whatever else is asked for: its own random streams, named by
version and number, decide it, and the resolution only how finely the scene is sampled. Items
2k and 2k + 1 are a cat and a dog in an order drawn by lot.

Version 1 is frozen, and a test holds its digest. Its difficulty was set before any norm was
compared, on a quarter-width AlexNet **without** norm (64 pixels, 1,500 training and 500
validation items, inputs normalized per channel, SGD at learning rate 0.01 with momentum 0.9,
batch size 16, dropout 0.5). Validation accuracy in % after each of 25 epochs:

- torch's initial weights, seed 1: 49 51 51 51 49 49 49 49 50 58 66 70 66 76 85 85 87 86 86 87
  90 91 87 87 91
- torch's initial weights, seed 2: 49 51 51 51 51 51 49 51 62 55 65 58 62 68 79 82 83 85 86 87
  87 91 92 88 92
- He's initial weights, seed 0: 51 49 51 51 49 51 49 51 56 51 57 62 61 62 57 68 65 75 77 57 74
  81 84 83 84

On 2,000 items mean colour and contrast, the nearest mean picture and a linear classifier of the
pixels stay between 46 and 53 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.about import About
from normbench.datasets.base import Arrays
from normbench.datasets.cache import Append, load_or_make
from normbench.datasets.parallel import bar, in_order
from normbench.datasets.portrait import paint
from normbench.plan.seeds import stream_key


def _stream(version: int, name: str) -> np.random.Generator:
    # the generator is named: default_rng may become another one some day
    return np.random.Generator(np.random.PCG64(stream_key(version, "draw", f"pets {name}")))


def species(version: int, item: int) -> int:
    """0 for a cat, 1 for a dog."""
    return (item + int(_stream(version, f"pair {item // 2}").integers(2))) % 2


def draw(version: int, item: int, resolution: int) -> NDArray[np.uint8]:
    """Item ``item`` of the version: uint8 of shape (3, resolution, resolution), RGB."""
    scene, noise = _stream(version, f"scene {item}"), _stream(version, f"noise {item}")
    return paint(scene, noise, species(version, item), resolution)


class Pets:
    """Drawn cats (0) and dogs (1): ``items``, ``resolution`` and ``version``."""

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """Never missing: they are drawn when first asked for."""
        del params
        return None

    def about(self, params: Mapping[str, Any]) -> About:
        """What it will be, without drawing it."""
        resolution = int(params["resolution"])
        return About(int(params["items"]), (3, resolution, resolution), 2)

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """The pictures as uint8 of shape (items, 3, resolution, resolution), from the cache.

        Raises :class:`~normbench.errors.WorkError` where the cache cannot be written.
        """
        items, resolution, version = (int(params[k]) for k in ("items", "resolution", "version"))

        def make(append: Append) -> dict[str, Any]:
            with bar(f"drawing {items:,} pets", items) as step:
                for item, picture in in_order(lambda i: draw(version, i, resolution), range(items)):
                    append(picture, species(version, item))
                    step()
            return {}

        cached = load_or_make(
            f"pets-{resolution}px", ["pets", version, items], (3, resolution, resolution), make
        )
        return Arrays(
            f"pets/{version}/{resolution}/{items}", cached.images, cached.labels, 2,
            known=(cached.images, cached.digest),
        )  # fmt: skip


PETS = Pets()
