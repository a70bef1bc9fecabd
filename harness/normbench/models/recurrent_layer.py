"""The plain module of a recurrent layer, with norms inside its cell."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from normbench.errors import NormbenchError
from normbench.models import cells
from normbench.models.describe import Network
from normbench.models.layers import CellKind, Recurrent
from normbench.norms.sequence import SequenceNorm, absent, build_sequence_norm
from normbench.norms.time_batch import TimeBatchNorm
from normbench.plan.seeds import stream_key


def block_sizes(kind: CellKind, site: str, hidden: int) -> list[int]:
    """The features that norms see at a site, block by block.

    A GRU's candidate is a block of its own: its hidden part stands inside the reset gate.
    """
    if site == "cell":
        return [hidden]
    return [2 * hidden, hidden] if kind == "gru" else [cells.GATES[kind] * hidden]


class RecurrentLayer(nn.Module):
    """Sequences (N, features, steps) to the last hidden state (N, hidden); see :mod:`cells`.

    Without norms it computes what ``torch.nn.LSTM``, ``GRU`` or ``RNN`` do, with a single bias
    (torch has two and adds them up; the GRU keeps the one inside its reset gate). W_x x is
    computed for all steps at once, and time is unbound before the loop. Under autocast the products
    alone are of 16 bits: norms, gates and states are those of the parameters' type.
    """

    def __init__(
        self,
        kind: CellKind,
        features: int,
        hidden: int,
        norms: dict[str, SequenceNorm],
    ) -> None:
        super().__init__()
        rows = cells.GATES[kind] * hidden
        self.kind, self.hidden = kind, hidden
        self.weight_input = nn.Parameter(torch.empty(rows, features))
        self.weight_hidden = nn.Parameter(torch.empty(rows, hidden))
        self.bias = nn.Parameter(torch.empty(rows))
        self.candidate_bias = nn.Parameter(torch.empty(hidden)) if kind == "gru" else None
        for site in ("input", "hidden", "cell"):
            self.add_module(f"{site}_norm", norms.get(site, absent(rows)))
        self.input_norm: SequenceNorm
        self.hidden_norm: SequenceNorm
        self.cell_norm: SequenceNorm

    def forward(self, x: Tensor) -> Tensor:
        """The hidden state after the last step."""
        kind = self.bias.dtype
        tokens = functional.linear(x.permute(2, 0, 1), self.weight_input).to(kind)
        given = self.input_norm.sequence(tokens) + self.bias
        parts = cells.Recurrence(
            lambda h: functional.linear(h, self.weight_hidden).to(kind),
            self.hidden_norm.step,
            self.cell_norm.step,
            self.candidate_bias,
        )
        start = given.new_zeros(x.shape[0], self.hidden)
        last = cells.run(self.kind, given.unbind(0), start, parts)
        self.hidden_norm.finish()
        self.cell_norm.finish()
        return last

    @property
    def weights(self) -> tuple[nn.Parameter, nn.Parameter]:
        """The parameters for which weight decay is meant by default."""
        return self.weight_input, self.weight_hidden

    @torch.no_grad()
    def initialise(self, seed: int, name: str) -> None:
        """Set the initial weights, each matrix from its own stream.

        Torch's law, uniform within ±1/√hidden, for both matrices. Biases are 0, but 1 at an LSTM's
        forget gate (Gers et al. 2000; Cooijmans et al. 2017).
        """
        bound = 1.0 / math.sqrt(self.hidden)
        for part, weight in (("input", self.weight_input), ("hidden", self.weight_hidden)):
            generator = torch.Generator().manual_seed(stream_key(seed, "init", f"{name} {part}"))
            weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=generator))
        self.bias.zero_()
        if self.kind == "lstm":
            self.bias[self.hidden : 2 * self.hidden] = 1.0
        if self.candidate_bias is not None:
            self.candidate_bias.zero_()


def build_recurrent(layer: Recurrent, shape: tuple[int, ...], net: Network) -> RecurrentLayer:
    """The module of a layer for samples of ``shape`` (features, steps), weights uninitialised.

    The network's norm stands at those of its sites that the layer has. Raises what
    :func:`~normbench.norms.sequence.build_sequence_norm` raises, with the site's name.
    """
    features, steps = shape
    norms: dict[str, SequenceNorm] = {}
    for site in layer.sites:
        if net.norm.name == "none" or site not in net.sites:
            continue
        sizes = block_sizes(layer.kind, site, layer.hidden)
        try:
            norm = build_sequence_norm(
                net.norm.name,
                net.norm.params,
                sizes,
                site=site,
                steps=steps,
                batch_size=net.norm.batch_size,
            )
        except NormbenchError as error:
            raise type(error)(f"at site {site}: {error}") from None
        if isinstance(norm, TimeBatchNorm) and net.norm.batch_size < net.batch_size:
            norm.ghost = net.norm.batch_size
        norms[site] = norm
    return RecurrentLayer(layer.kind, features, layer.hidden, norms)
