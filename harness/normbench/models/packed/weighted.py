"""What convolutions and linear layers share: their weight, perhaps normalized, and their bias."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Operation
from normbench.models.packed.graph import Node
from normbench.norms.weight_standardized import WEIGHT_EPS


class Weighted(Operation):
    """A layer with a weight, as a matrix (members, outputs, fan-in), and a bias (members, outputs).

    With weight norm the weight is g·v/‖v‖ (Salimans & Kingma 2016, arXiv:1602.07868), with weight
    standardization (v − μ)/√(σ² + ε) (Qiao et al. 2019, arXiv:1903.10520); either is computed anew
    in every pass.

    A norm that stands right behind may take work off it: ``bias_given`` says that the norm writes
    the bias's gradient, ``bias_cancels`` that the norm takes the mean off again, so that training
    needs no bias at all.
    """

    def __init__(self, node: Node, block: Block) -> None:
        self.node, self.block = node, block
        self.bias_given = self.bias_cancels = False
        self.outputs = node.after[-1]
        members = block.size
        stored = f"{node.name}.{'weight' if node.weight == 'plain' else 'v'}"
        self.fan_in = prod(block.values[stored].shape[2:])
        matrix = (members, self.outputs, self.fan_in)
        self.stored = block.values[stored].view(matrix)
        self.stored_gradient = block.gradients[stored].view(matrix)
        self.bias = block.values[f"{node.name}.bias"].unsqueeze(1)
        self.bias_gradient = block.gradients[f"{node.name}.bias"]
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
        if self.node.weight == "normed":
            along = (self.weight_gradient * self.stored).sum(2)
            torch.div(along, self.length, out=self.scale_gradient)
            factor = self.scale / self.length
            back = (-factor * along / self.length.square()).unsqueeze(2)
            torch.mul(self.stored, back, out=self.stored_gradient)
            self.stored_gradient.addcmul_(self.weight_gradient, factor.unsqueeze(2))
        elif self.node.weight == "standardized":
            given = self.weight_gradient
            along = (given * self.weight).mean(2, keepdim=True)
            torch.mul(self.weight, along.neg_(), out=self.stored_gradient)
            self.stored_gradient.add_(given).sub_(given.mean(2, keepdim=True)).mul_(self.rstd)

    def bias_backward(self, gradient: Tensor) -> None:
        """The bias's gradient from the output's (members, values, outputs)."""
        if not self.bias_given:
            torch.sum(gradient, 1, out=self.bias_gradient)
