"""What is timed: models, norms and batch sizes, and the bars that were set beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from normbench.plan.spec import RunSpec
    from normbench.training.data import Prepared

SEEDS = 16
NORMS = ("none", "batch", "layer", "group", "instance", "weight")
BATCHES = (2, 8, 32, 128)
GROUPS, LEARNING_RATE, MOMENTUM = 8, 0.01, 0.9
#: Epochs of the sweep for which normbench's calibration is asked to find a plan.
EPOCHS = 25

TITLES = {
    "digits": "digits, small CNN",
    "alexnet": "drawn pets of 64 pixels, AlexNet of a quarter of the width",
}
#: Seeds trained together where steps are timed one by one, by model and batch size; else 16.
WIDTHS = {("alexnet", 8): 8, ("alexnet", 32): 4, ("alexnet", 128): 4}
#: Ratio to (a): the median over the norms must reach these.
BARS = {
    "digits": {2: 10.0, 8: 8.0, 32: 2.5, 128: 1.9},
    "alexnet": {2: 2.2, 8: 1.5, 32: 1.4, 128: 1.5},
}
#: No norm may fall below this ratio in any cell.
LEAST = 0.95
#: Share of the measured matrix-multiply peak on the AlexNet.
PEAK_BARS = {2: 0.45, 8: 0.6, 32: 0.75, 128: 0.9}
#: The cells on which Lightning is timed as well.
LIGHTNING = (("digits", "batch", 8), ("alexnet", "batch", 32))


@dataclass(frozen=True)
class Work:
    """One cell: a model on its data, with a norm, at a batch size."""

    model: str
    norm: str
    batch: int

    @property
    def with_lightning(self) -> bool:
        """Whether Lightning is timed on it."""
        return (self.model, self.norm, self.batch) in LIGHTNING

    @property
    def cost(self) -> int:
        """A rough order of how long a step takes, to start with the longest."""
        return self.batch * (100 if self.model == "alexnet" else 1)


def all_work() -> list[Work]:
    """Every cell, the longest first."""
    cells = [Work(m, norm, b) for m in TITLES for norm in NORMS for b in BATCHES]
    return sorted(cells, key=lambda work: -work.cost)


def quick_work() -> list[Work]:
    """A few cells for a look of about two minutes."""
    digits = [Work("digits", norm, b) for norm in ("batch", "group") for b in (2, 8, 32)]
    alexnet = [Work("alexnet", "batch", b) for b in (2, 32)]
    return sorted(digits + alexnet, key=lambda work: -work.cost)


def run_spec(work: Work, seed: int = 0, dropout: float = 0.5) -> RunSpec:
    """The cell and a seed as normbench describes them."""
    from normbench.plan.spec import RunSpec
    from normbench.protocol.schema import Cell

    common: dict[str, Any] = {
        "norm": {"name": "group", "groups": GROUPS} if work.norm == "group" else work.norm,
        "batch_size": work.batch,
        "learning_rate": LEARNING_RATE,
        "epochs": EPOCHS,
        "optimizer": {"name": "sgd", "momentum": MOMENTUM},
    }
    if work.model == "digits":
        own: dict[str, Any] = {"dataset": "digits", "model": "small-cnn", "sites": "all"}
    else:
        own = {
            "dataset": {"name": "pets", "resolution": 64},
            "model": {"name": "alexnet", "width": 0.25, "dropout": dropout},
            "sites": "first-two",
        }
    return RunSpec("bench", Cell.model_validate(common | own), seed)


def prepared(work: Work) -> Prepared:
    """The data of a cell, scaled."""
    from normbench.training.data import prepare

    return prepare(run_spec(work).cell)


def tensors(work: Work) -> tuple[Tensor, Tensor]:
    """The training inputs and labels as plain tensors, for whoever is not normbench."""
    train = prepared(work).train
    return train.x.contiguous(), train.y
