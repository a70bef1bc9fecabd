"""The catalogue: what norms, data sets, models and optimizers there are, by name.

An entry names its code as ``"module:attribute"`` and is imported when it is first used, so
that listing and validating need neither torch nor scikit-learn. A new component is one file
and one line here; another package adds its own through the entry-point groups
``normbench.norms``, ``normbench.datasets``, ``normbench.models``, ``normbench.optimizers``,
``normbench.schedules``, ``normbench.augmentations`` and ``normbench.probes``, each pointing to
an :class:`Entry`.
"""

from __future__ import annotations

from normbench.catalog.augmentations import AUGMENTATIONS
from normbench.catalog.data import DATASETS
from normbench.catalog.entries import (
    BATCH_INDEPENDENT,
    BATCH_STATISTICS,
    LINEAR_REGRESSION,
    OWN_NETWORKS,
    SITES_TOO,
    WEIGHTS,
    Catalog,
    Entry,
    Param,
    Scalar,
    nearest,
)
from normbench.catalog.models import MODELS
from normbench.catalog.norms import NORMS
from normbench.catalog.probes import PROBES, probes_that_give, quantity
from normbench.catalog.training import OPTIMIZERS, SCHEDULES

#: The axes of a cell that choose a component, and from what.
CHOICE_AXES: dict[str, Catalog] = {
    "dataset": DATASETS,
    "model": MODELS,
    "norm": NORMS,
    "optimizer": OPTIMIZERS,
    "lr_schedule": SCHEDULES,
}

#: The axes that choose several, in an order.
LIST_AXES: dict[str, Catalog] = {"augment": AUGMENTATIONS}

__all__ = [
    "AUGMENTATIONS",
    "BATCH_INDEPENDENT",
    "BATCH_STATISTICS",
    "CHOICE_AXES",
    "DATASETS",
    "LINEAR_REGRESSION",
    "LIST_AXES",
    "MODELS",
    "NORMS",
    "OPTIMIZERS",
    "OWN_NETWORKS",
    "PROBES",
    "SCHEDULES",
    "SITES_TOO",
    "WEIGHTS",
    "Catalog",
    "Entry",
    "Param",
    "Scalar",
    "nearest",
    "probes_that_give",
    "quantity",
]
