"""Weight standardization (Qiao et al. 2019), with the group norm that it is meant for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normbench.errors import UndefinedError
from normbench.norms import group
from normbench.norms.reparametrized import Reparametrized, require_weights

#: Added to a weight's variance, which is about 1/fan-in: the ε of activations would weigh in it.
WEIGHT_EPS = 1e-6


class WeightStandardized(Reparametrized):
    """A convolution or linear layer with w = (v − μ)/√(σ² + 10⁻⁶), each output over its fan-in.

    σ² is the biased variance. Outputs are √fan-in times as large as their inputs: something behind
    the layer has to take that off again. arXiv:1903.10520.
    """

    @property
    def weight(self) -> Tensor:
        """The weight that the layer uses."""
        variance, mean = torch.var_mean(self.v.flatten(1), dim=1, correction=0)
        rstd = (variance + WEIGHT_EPS).rsqrt()
        return (self.v - self.per_output(mean)) * self.per_output(rstd)


def build(
    place: nn.Module | tuple[int, ...], *, groups: int, eps: float, affine: bool
) -> nn.Module:
    """Standardize the weights of a layer, or give the group norm for a site's shape.

    ``place`` is a convolution or linear layer, or the shape of a sample at a site, (features,) or
    (C, H, W). ``groups``, ``eps`` and ``affine`` are the group norm's; with 0 groups there is none,
    and weights are standardized alone.

    Raises :class:`~normbench.errors.UndefinedError` for a layer with a single input, whose weight
    would be zero, ``TypeError`` for other layers, and what :func:`normbench.norms.group.build`
    raises.
    """
    if isinstance(place, tuple):
        if groups == 0:
            return nn.Identity()
        return group.build(place, groups=groups, eps=eps, affine=affine)
    layer = require_weights("weight standardization", place)
    if layer.weight[0].numel() < 2:
        raise UndefinedError(
            "weight standardization needs at least two weights per output; "
            f"a layer with weights of shape {tuple(layer.weight.shape)} has one"
        )
    return WeightStandardized(layer)
