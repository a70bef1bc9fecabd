"""Optimizers of the catalogue, as functions of the gradients.

They call the functions behind ``torch.optim``'s classes, so that the arithmetic is torch's,
and leave out the classes' bookkeeping, which costs as much as a step of a small network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.adam import adam as torch_adam
from torch.optim.adamw import adamw as torch_adamw
from torch.optim.sgd import sgd as torch_sgd

from normbench.models.recurrent_layer import RecurrentLayer


class Optimizer(Protocol):
    """Changes parameters in place, given their gradients in the same order."""

    learning_rate: float

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take one step."""
        ...


def decay_mask(model: nn.Module) -> list[bool]:
    """For each parameter that trains, in order, whether weight decay belongs on it by default.

    It does on the weights of convolutions, linear and recurrent layers, and attention. On a norm's
    scale and shift it would change the function that is studied, and on biases it does nothing
    useful.
    """
    with_weight = (nn.Linear, nn.modules.conv._ConvNd)
    weights = {id(m.weight) for m in model.modules() if isinstance(m, with_weight)}
    attentions = [m for m in model.modules() if isinstance(m, nn.MultiheadAttention)]
    weights |= {id(p) for m in attentions for n, p in m.named_parameters() if p.dim() == 2}
    weights |= {id(w) for m in model.modules() if isinstance(m, RecurrentLayer) for w in m.weights}
    directions = {id(module.v) for module in model.modules() if hasattr(module, "v")}
    return [id(p) in weights | directions for p in model.parameters() if p.requires_grad]


@dataclass
class _Group:
    """Parameters with the same weight decay: their places among all, and their state."""

    places: list[int]
    parameters: list[Tensor]
    decay: float
    velocity: list[Tensor | None] = field(default_factory=list)
    first: list[Tensor] = field(default_factory=list)
    second: list[Tensor] = field(default_factory=list)
    steps: list[Tensor] = field(default_factory=list)

    def gradients(self, all_gradients: Sequence[Tensor]) -> list[Tensor]:
        """The group's gradients, lying in memory as their shapes say.

        The fused kernels walk through memory as it lies: a transposed or expanded gradient would
        be read in the wrong order, or past its end. Contiguous ones are passed as they are.
        """
        return [all_gradients[i].contiguous() for i in self.places]


def _groups(
    parameters: Sequence[Tensor], weight_decay: float, decayed: Sequence[bool] | None
) -> list[_Group]:
    mask = [True] * len(parameters) if decayed is None or weight_decay == 0 else list(decayed)
    groups = []
    for wanted, decay in ((True, weight_decay), (False, 0.0)):
        places = [i for i, on in enumerate(mask) if on is wanted]
        if places:
            groups.append(_Group(places, [parameters[i] for i in places], decay))
    return groups


class Sgd:
    """SGD in torch's convention: v ← momentum·v + g + weight_decay·w; w ← w − learning_rate·v.

    With ``nesterov``, w ← w − learning_rate·(g + weight_decay·w + momentum·v) instead.
    """

    def __init__(
        self, groups: list[_Group], learning_rate: float, momentum: float, nesterov: bool
    ) -> None:
        self.groups, self.learning_rate = groups, learning_rate
        self.momentum, self.nesterov = momentum, nesterov
        for group in groups:
            group.velocity = [None for _ in group.parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take one step; the first sets the velocity to the gradient."""
        for group in self.groups:
            given, velocity = group.gradients(gradients), group.velocity
            moving = [v for v in velocity if v is not None]
            if len(moving) < len(velocity):  # the first step, or one without momentum
                torch_sgd(
                    group.parameters, given, velocity, fused=True, foreach=False,
                    lr=self.learning_rate, momentum=self.momentum, weight_decay=group.decay,
                    dampening=0.0, nesterov=self.nesterov, maximize=False,
                )  # fmt: skip
                continue
            # what that function calls; its sorting by devices takes as long as a small step
            torch._fused_sgd_(
                group.parameters, given, moving, lr=self.learning_rate, momentum=self.momentum,
                weight_decay=group.decay, dampening=0.0, nesterov=self.nesterov, maximize=False,
                is_first_step=False,
            )  # fmt: skip


class Adam:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980); ``decoupled`` makes it AdamW (arXiv:1711.05101)."""

    def __init__(
        self, groups: list[_Group], learning_rate: float, betas: tuple[float, float], eps: float,
        decoupled: bool,
    ) -> None:  # fmt: skip
        self.groups, self.learning_rate, self.betas, self.eps = groups, learning_rate, betas, eps
        self.function = torch_adamw if decoupled else torch_adam
        for group in groups:
            group.first = [torch.zeros_like(p) for p in group.parameters]
            group.second = [torch.zeros_like(p) for p in group.parameters]
            group.steps = [
                torch.zeros((), dtype=torch.float32, device=p.device) for p in group.parameters
            ]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take one step."""
        for group in self.groups:
            self.function(
                group.parameters, group.gradients(gradients), group.first, group.second, [],
                group.steps, fused=True, foreach=False, amsgrad=False, beta1=self.betas[0],
                beta2=self.betas[1], lr=self.learning_rate, weight_decay=group.decay, eps=self.eps,
                maximize=False,
            )  # fmt: skip


def sgd(
    parameters: Sequence[Tensor],
    learning_rate: float,
    *,
    momentum: float,
    weight_decay: float,
    nesterov: bool = False,
    decay_norms: bool = False,
    decayed: Sequence[bool] | None = None,
) -> Optimizer:
    """Stochastic gradient descent; ``learning_rate`` is the one after scaling.

    ``decayed`` marks the parameters that ``weight_decay`` is for (default: all);
    ``decay_norms`` puts it on all of them.
    """
    groups = _groups(parameters, weight_decay, None if decay_norms else decayed)
    return Sgd(groups, learning_rate, momentum, nesterov)


def adam(
    parameters: Sequence[Tensor],
    learning_rate: float,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decay_norms: bool = False,
    decayed: Sequence[bool] | None = None,
) -> Optimizer:
    """Adam with an L2 penalty; see :func:`sgd` for the other arguments."""
    groups = _groups(parameters, weight_decay, None if decay_norms else decayed)
    return Adam(groups, learning_rate, (beta1, beta2), eps, decoupled=False)


def adamw(
    parameters: Sequence[Tensor],
    learning_rate: float,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decay_norms: bool = False,
    decayed: Sequence[bool] | None = None,
) -> Optimizer:
    """Adam with decoupled weight decay; see :func:`sgd` for the other arguments."""
    groups = _groups(parameters, weight_decay, None if decay_norms else decayed)
    return Adam(groups, learning_rate, (beta1, beta2), eps, decoupled=True)
