"""Layers with weights: what they share, and the fully connected ones."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Conditions, Operation, put_product
from normbench.models.packed.graph import LinearNode, WeightNode
from normbench.norms.weight_standardized import WEIGHT_EPS

#: Factor and summand (members, channels) of each channel of an output, if there are any.
Affine = tuple[Tensor | None, Tensor | None]


class Weighted(Operation):
    """A layer with a weight, as a matrix (members, outputs, fan-in); its bias is another operation.

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

    def evaluate(self, x: Tensor, conditions: Conditions, affine: Affine = (None, None)) -> Tensor:
        """As in training; with ``affine`` under that map of each channel."""
        self.prepare_weight()
        gain, shift = affine
        weight = self.weight if gain is None else self.weight * gain.unsqueeze(2)
        return self.computed(x, weight, None if shift is None else shift.unsqueeze(1), conditions)

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


class LinearLayers(Weighted):
    """y = x·Wᵀ for x of shape (members, N, features), one product of a batch of matrices."""

    def __init__(self, node: LinearNode, block: Block) -> None:
        super().__init__(node, block)
        self.x = self.weight

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (members, N, outputs), in memory of their own."""
        self.prepare_weight()
        self.x = x
        return product(x, self.weight, None, None)

    def backward(self, gradient: Tensor) -> Tensor:
        """The input's gradient, unless nothing before has parameters."""
        back = torch.bmm(gradient, self.weight) if self.passes_back else gradient
        put_product(self.weight_gradient, gradient.transpose(1, 2), self.x)
        self.finish_weight()
        return back

    def computed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, conditions: Conditions
    ) -> Tensor:
        """See :class:`Weighted`."""
        del conditions
        return product(x, weight, bias, None)
