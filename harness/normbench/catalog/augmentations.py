"""Random changes of training pictures. Their code is in :mod:`normbench.training.augment`."""

from __future__ import annotations

from normbench.catalog.entries import Catalog, Entry, Param

AUGMENTATIONS = Catalog(
    "augmentation",
    {
        "flip": Entry(
            "normbench.training.augment:Flip",
            "left and right exchanged",
            params={"p": Param(0.5, "share of the pictures", above=0.0, at_most=1.0)},
        ),
        "crop": Entry(
            "normbench.training.augment:Crop",
            "moved in both directions, as a crop of the padded picture is (He et al. 2016)",
            params={"padding": Param(4, "pixels that it moves at most", at_least=1, at_most=512)},
        ),
        "cutout": Entry(
            "normbench.training.augment:Cutout",
            "a square put to zero (DeVries & Taylor 2017, arXiv:1708.04552)",
            params={"size": Param(8, "side of the square, pixels", at_least=1, at_most=512)},
        ),
    },
)
