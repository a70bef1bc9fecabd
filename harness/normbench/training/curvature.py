"""Learning rates in units of 1/λ_max, for models of which the curvature is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normbench.errors import UsageError
from normbench.protocol.schema import Cell
from normbench.training.data import Prepared

if TYPE_CHECKING:
    from normbench.stats.quadratic import Quadratic


def check_curvature(cell: Cell, task: str) -> None:
    """Raise :class:`UsageError` where rates in units of the curvature have no meaning."""
    if cell.lr_scaling != "curvature" or (cell.model.name == "linear" and task == "regression"):
        return
    raise UsageError(
        "lr_scaling curvature gives the learning rate in units of 1/λ_max, which is one number for "
        "the whole training only where the loss is a quadratic: a regression with the model linear"
        f"; received the model {cell.model.name} on {cell.dataset.name} ({task}); use none, linear "
        "or sqrt"
    )


def training_loss(data: Prepared) -> Quadratic:
    """The mean squared error of a linear model on all training items, as a quadratic."""
    from normbench.stats.quadratic import squared_error

    inputs = data.train.inputs(slice(0, len(data.train)))
    return squared_error(inputs.flatten(1).double().cpu().numpy(), data.train.y.double().cpu())


def rate_unit(cell: Cell, data: Prepared) -> float:
    """What the cell's learning rate is multiplied by: 1/λ_max where it is scaled by curvature.

    λ_max is the largest eigenvalue of the Hessian of the mean squared error on all training
    items, as the model takes them, with the bias. Raises :class:`UsageError` for other models and
    tasks.
    """
    check_curvature(cell, data.task)
    return 1.0 / training_loss(data).largest if cell.lr_scaling == "curvature" else 1.0
