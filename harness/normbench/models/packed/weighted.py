"""What convolutions and linear layers share: their weight, perhaps normalized, and their bias."""

from __future__ import annotations

from math import prod
from typing import Protocol

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Operation, put
from normbench.models.packed.evaluator import Conditions
from normbench.models.packed.graph import Node
from normbench.norms.weight_standardized import WEIGHT_EPS


class AffineNorm(Protocol):
    """A norm that may be a fixed affine map of each channel in evaluation."""

    def fixed(self, conditions: Conditions) -> bool:
        """Whether it is."""
        ...

    def gain_and_shift(self, conditions: Conditions) -> tuple[Tensor, Tensor]:
        """Factor and summand, (members, channels) each."""
        ...


class Weighted(Operation):
    """A layer with a weight, as a matrix (members, outputs, fan-in), and a bias (members, outputs).

    With weight norm the weight is g·v/‖v‖ (Salimans & Kingma 2016, arXiv:1602.07868), with weight
    standardization (v − μ)/√(σ² + ε) (Qiao et al. 2019, arXiv:1903.10520); either is computed anew
    in every pass.

    An operation that stands right behind may take work off it: ``bias_given`` says that it writes
    the bias's gradient, ``bias_cancels`` that a norm takes the mean off again, so that training
    needs no bias at all, and ``follower_adds`` that the bias may be left to it.
    """

    def __init__(self, node: Node, block: Block) -> None:
        self.node, self.block = node, block
        self.bias_given = self.bias_cancels = False
        self.follower_adds = False
        #: The bias that was left to the operation behind.
        self.pending: Tensor | None = None
        #: A norm behind that is an affine map of each channel under some conditions.
        self.folded: AffineNorm | None = None
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

    @property
    def carry(self) -> float:
        """What the weight's gradient keeps of its former values: nothing where it is on its way."""
        return self.block.carry if self.node.weight == "plain" else 0.0

    def prepare_weight(self) -> None:
        """Compute the weight from what is stored, where it is not the weight itself."""
        if self.node.weight == "normed":
            self.length = torch.linalg.vector_norm(self.stored, dim=2)
            torch.mul(self.stored, (self.scale / self.length).unsqueeze(2), out=self.weight)
        elif self.node.weight == "standardized":
            variance, mean = torch.var_mean(self.stored, dim=2, correction=0, keepdim=True)
            self.rstd = (variance + WEIGHT_EPS).rsqrt_()
            torch.sub(self.stored, mean, out=self.weight).mul_(self.rstd)

    def move(self, members: slice) -> None:
        """Let some members' weights take their step, if it is due: gradient and weight are near.

        A weight that is computed from what is stored moves in :meth:`finish_weight`.
        """
        if self.node.weight == "plain":
            self._step(members)

    def _step(self, members: slice) -> None:
        if self.block.rate is not None:
            self.stored[members].sub_(self.stored_gradient[members], alpha=self.block.rate)

    def finish_weight(self, *, moved: bool = False) -> None:
        """From the weight's gradient that of what is stored; weights move that have not ``moved``.

        With weight norm and u = v/‖v‖: ∂g = ⟨∂w, u⟩ and ∂v = g/‖v‖·(∂w − ⟨∂w, u⟩·u). With weight
        standardization ∂v = (∂w − mean(∂w) − w·mean(∂w·w))/σ, as for layer norm.
        """
        if self.node.weight == "plain":
            if not moved:
                self._step(slice(None))
            return
        given, carry = self.weight_gradient, self.block.carry
        found = torch.empty_like(self.stored) if carry else self.stored_gradient
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
        if carry:
            put(self.stored_gradient, found, carry)
        self._step(slice(None))

    def leave(self, bias: Tensor | None) -> Tensor | None:
        """The bias that a product has to add: none where the operation behind will do so.

        A product adds a bias by first writing it everywhere, which is as much work as a short one.
        """
        if self.follower_adds:
            self.pending, bias = bias, None
        return bias

    def pop_pending(self) -> Tensor | None:
        """The bias (members, 1, outputs) that was left, for the one who asks first."""
        found, self.pending = self.pending, None
        return found

    def affine(self, conditions: Conditions) -> tuple[Tensor, Tensor]:
        """Weight and bias in evaluation, with the norm behind where that is a fixed affine map."""
        self.prepare_weight()
        if self.folded is None or not self.folded.fixed(conditions):
            return self.weight, self.bias
        gain, shift = self.folded.gain_and_shift(conditions)
        bias = torch.addcmul(shift.unsqueeze(1), self.bias, gain.unsqueeze(1))
        return self.weight * gain.unsqueeze(2), bias

    def bias_backward(self, gradient: Tensor) -> None:
        """The bias's gradient from the output's (members, values, outputs)."""
        if not self.bias_given:
            torch.sum(gradient, 1, out=self.bias_gradient)
