"""Recurrent nets: one layer of cells, and a linear layer on its last hidden state."""

from __future__ import annotations

from normbench.errors import UsageError
from normbench.models.layers import CellKind, Layer, Linear, Recurrent


def _layers(kind: CellKind, shape: tuple[int, ...], classes: int, hidden: int) -> list[Layer]:
    if len(shape) != 2:
        raise UsageError(
            f"the model {kind} takes sequences, inputs of shape (features, steps); these have the "
            f"shape {shape}: use a data set of sequences such as digits-rows"
        )
    return [Recurrent("recurrent", kind, hidden), Linear("classifier", classes)]


def lstm(shape: tuple[int, ...], classes: int, *, hidden: int) -> list[Layer]:
    """Long short-term memory with ``hidden`` cells (Hochreiter & Schmidhuber 1997).

    ``shape`` is (features, steps). The sites are input, hidden and cell. Raises
    :class:`~normbench.errors.UsageError` for data that are not sequences.
    """
    return _layers("lstm", shape, classes, hidden)


def gru(shape: tuple[int, ...], classes: int, *, hidden: int) -> list[Layer]:
    """Gated recurrent units (Cho et al. 2014, arXiv:1406.1078); the sites are input and hidden."""
    return _layers("gru", shape, classes, hidden)


def rnn(shape: tuple[int, ...], classes: int, *, hidden: int) -> list[Layer]:
    """A plain recurrent net with tanh (Elman 1990); the sites are input and hidden."""
    return _layers("rnn", shape, classes, hidden)
