"""What convolutions and linear layers share: their weight, perhaps normalized, and their bias."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Operation
from normbench.models.packed.evaluator import Conditions
from normbench.models.packed.graph import WeightNode
from normbench.norms.weight_standardized import WEIGHT_EPS

#: Factor and summand (members, channels) of each channel of an output.
Affine = tuple[Tensor, Tensor]


class Weighted(Operation):
    """A layer with a weight, as a matrix (members, outputs, fan-in), and perhaps a bias.

    With weight norm the weight is g·v/‖v‖ (Salimans & Kingma 2016, arXiv:1602.07868), with weight
    standardization (v − μ)/√(σ² + ε) (Qiao et al. 2019, arXiv:1903.10520); either is computed anew
    in every pass.
    """

    def __init__(self, node: WeightNode, block: Block) -> None:
        self.node, self.block, self.passes_back = node, block, node.passes_back
        self.outputs = node.after[-1]
        stored = f"{node.name}.{'weight' if node.weight == 'plain' else 'v'}"
        self.fan_in = prod(block.values[stored].shape[2:])
        matrix = (block.size, self.outputs, self.fan_in)
        self.stored = block.values[stored].view(matrix)
        self.stored_gradient = block.gradients[stored].view(matrix)
        #: (members, 1, outputs), or none.
        self.bias = block.values[f"{node.name}.bias"].unsqueeze(1) if node.bias else None
        self.weight, self.weight_gradient = self.stored, self.stored_gradient
        if node.weight != "plain":
            self.weight = block.work.take(f"{node.name}.weight", *matrix)
            self.weight_gradient = block.work.take(f"{node.name}.weight gradient", *matrix)
        if node.weight == "normed":
            self.scale = block.values[f"{node.name}.g"]
            self.scale_gradient = block.gradients[f"{node.name}.g"]
            self.length = self.scale
        self.rstd = self.stored

    def prepare_weight(self) -> None:
        """Compute the weight from what is stored, where it is not the weight itself."""
        if self.node.weight == "normed":
            self.length = torch.linalg.vector_norm(self.stored, dim=2)
            torch.mul(self.stored, (self.scale / self.length).unsqueeze(2), out=self.weight)
        elif self.node.weight == "standardized":
            variance, mean = torch.var_mean(self.stored, dim=2, correction=0, keepdim=True)
            self.rstd = (variance + WEIGHT_EPS).rsqrt_()
            torch.sub(self.stored, mean, out=self.weight).mul_(self.rstd)

    def finish_weight(self) -> None:
        """From the weight's gradient that of what is stored.

        With weight norm and u = v/‖v‖: ∂g = ⟨∂w, u⟩ and ∂v = g/‖v‖·(∂w − ⟨∂w, u⟩·u). With weight
        standardization ∂v = (∂w − mean(∂w) − w·mean(∂w·w))/σ, as for layer norm.
        """
        if self.node.weight == "plain":
            return
        given, found = self.weight_gradient, self.stored_gradient
        if self.node.weight == "normed":
            along = (given * self.stored).sum(2)
            torch.div(along, self.length, out=self.scale_gradient)
            factor = self.scale / self.length
            back = (-factor * along / self.length.square()).unsqueeze(2)
            torch.mul(self.stored, back, out=found).addcmul_(given, factor.unsqueeze(2))
        else:
            along = (given * self.weight).mean(2, keepdim=True)
            torch.mul(self.weight, along.neg_(), out=found)
            found.add_(given).sub_(given.mean(2, keepdim=True)).mul_(self.rstd)

    def bias_backward(self, gradient: Tensor) -> None:
        """The bias's gradient, if there is a bias, from the output's (members, …, outputs)."""
        if self.bias is not None:
            out = self.block.gradients[f"{self.node.name}.bias"]
            torch.sum(gradient, tuple(range(1, gradient.dim() - 1)), out=out)

    def evaluate(self, x: Tensor, conditions: Conditions, affine: Affine | None = None) -> Tensor:
        """As in training; with ``affine`` under that map of each channel."""
        self.prepare_weight()
        weight, bias = self.weight, self.bias
        if affine is not None:
            gain, shift = affine
            weight, shift = weight * gain.unsqueeze(2), shift.unsqueeze(1)
            bias = shift if bias is None else torch.addcmul(shift, bias, gain.unsqueeze(1))
        return self.computed(x, weight, bias, conditions)

    def computed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, conditions: Conditions
    ) -> Tensor:
        """The output in evaluation with this weight and bias, (members, 1, outputs)."""
        raise NotImplementedError


def product(rows: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor | None) -> Tensor:
    """rows·weightᵀ + bias for each member, in memory of its own if there is no ``out``."""
    if bias is not None:
        return torch.baddbmm(bias, rows, weight.transpose(1, 2), out=out)
    return torch.bmm(rows, weight.transpose(1, 2), out=out)
