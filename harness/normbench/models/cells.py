"""Recurrent cells as functions, for one run and for several with a leading axis of runs.

Shapes are (…, features): what is done is elementwise, so that a further axis in front changes
nothing. Gates lie side by side in torch's order, so that torch's own weights fit: input, forget,
candidate, output (LSTM); reset, update, candidate (GRU).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from normbench.models.layers import CellKind

#: How many blocks of ``hidden`` features a cell's gates take.
GATES: dict[CellKind, int] = {"lstm": 4, "gru": 3, "rnn": 1}

#: What stands at a site: from the values at a step, and the step, to normalized ones.
StepNorm = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Recurrence:
    """All that a cell needs besides its input: ``multiply`` is h ↦ W_h h.

    ``candidate_bias`` is the GRU's bias inside the reset gate, of a shape that spreads to (…, H).
    """

    multiply: Callable[[Tensor], Tensor]
    hidden_norm: StepNorm
    cell_norm: StepNorm
    candidate_bias: Tensor | None = None


def run(kind: CellKind, given: Sequence[Tensor], start: Tensor, parts: Recurrence) -> Tensor:
    """The last hidden state (…, H) after all steps.

    ``given`` holds W_x x + b of each step, normalized where a norm stands at the input, (…, G·H);
    ``start`` is h₀, which is also the LSTM's c₀. With N_h and N_c the norms at the sites hidden and
    cell (the identity where none stands):

    - LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000):
      i, f, g, o = given + N_h(W_h h); c ← σ(f)⊙c + σ(i)⊙tanh(g); h ← σ(o)⊙tanh(N_c(c)).
      With batch norm this is Cooijmans et al. (2017, arXiv:1603.09025), with layer norm
      Ba et al. (2016, arXiv:1607.06450).
    - GRU (Cho et al. 2014, arXiv:1406.1078, in the form of cuDNN and torch):
      r, z = σ(given + N_h(W_h h)); n = tanh(given + r⊙(N_h(W_h h) + b_n)); h ← (1−z)⊙n + z⊙h.
    - RNN (Elman 1990): h ← tanh(given + N_h(W_h h)).
    """
    hidden, cell = start, start
    for t, x in enumerate(given):
        recurrent = parts.hidden_norm(parts.multiply(hidden), t)
        if kind == "lstm":
            i, f, g, o = (x + recurrent).chunk(4, -1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * parts.cell_norm(cell, t).tanh()
        elif kind == "gru":
            hidden = _gru(x, recurrent, hidden, parts.candidate_bias)
        else:
            hidden = (x + recurrent).tanh()
    return hidden


def _gru(x: Tensor, recurrent: Tensor, hidden: Tensor, bias: Tensor | None) -> Tensor:
    size = hidden.shape[-1]
    gates = [2 * size, size]
    x_gates, x_new = torch.split(x, gates, -1)
    h_gates, h_new = torch.split(recurrent, gates, -1)
    reset, update = (x_gates + h_gates).sigmoid().chunk(2, -1)
    new = (x_new + reset * (h_new if bias is None else h_new + bias)).tanh()
    after: Tensor = new + update * (hidden - new)
    return after
