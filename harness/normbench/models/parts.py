"""The module of each layer of a network, for samples of a shape."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normbench.errors import UndefinedError, UsageError
from normbench.models.describe import Network
from normbench.models.dropout import StreamDropout
from normbench.models.layers import (
    Attention,
    Conv,
    Dropout,
    Embed,
    Flatten,
    Gelu,
    GlobalMean,
    Layer,
    Linear,
    MaxPool,
    Patches,
    Recurrent,
    ReLU,
    Residual,
    Site,
    TokenMean,
)
from normbench.models.recurrent_layer import build_recurrent
from normbench.models.site_norms import attention, site_norm, token_norm
from normbench.models.tokens import Embedding, MeanOfTokens, PatchEmbedding
from normbench.norms.factory import guarded_norm, is_foreign
from normbench.norms.own import depends_on_batch


class _Conv2d(nn.Conv2d):
    """A convolution whose weights are left as memory holds them, until they are set."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class _Linear(nn.Linear):
    """A linear layer whose weights are left as memory holds them, until they are set."""

    def reset_parameters(self) -> None:
        """Draw nothing."""


class _GlobalMeans(nn.Module):
    """The mean over all positions: (N, C, H, W) to (N, C).

    ``AdaptiveAvgPool2d(1)`` gives the same bits, and has no rule of its own for several members.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Average over height and width."""
        return x.mean((-2, -1))


def part_of(layer: Layer, shape: tuple[int, ...], net: Network, device: str) -> nn.Module:
    """The module of one layer for samples of ``shape``; weights are left uninitialised."""
    match layer:
        case Conv():
            if len(shape) != 3:
                raise UsageError(
                    f"the layer {layer.name} is a convolution and takes images; inputs of shape "
                    f"{shape} are for a recurrent model such as lstm"
                )
            return _Conv2d(
                shape[0], layer.channels, layer.kernel, layer.stride, layer.padding, device=device
            )
        case Linear():
            return _Linear(shape[-1], layer.features, device=device)
        case Site() if layer.tokens:
            return token_norm(shape, net, device)
        case Site():
            norm = site_norm(shape, net, device)
            scale = getattr(norm, "weight", None)
            if layer.zero_scale and isinstance(scale, nn.Parameter):
                nn.init.zeros_(scale)
            return norm
        case ReLU():
            return nn.ReLU()
        case MaxPool():
            return nn.MaxPool2d(layer.kernel, layer.stride)
        case Flatten():
            return nn.Flatten()
        case Dropout():
            return StreamDropout(layer.name, layer.p)
        case GlobalMean():
            return _GlobalMeans()
        case Residual():
            raise TypeError("a block is built of its layers")
        case Recurrent():
            with torch.device(device):
                return build_recurrent(layer, shape, net)
        case Embed():
            return Embedding(layer.vocabulary, shape[0], layer.width, device)
        case Patches():
            return PatchEmbedding(shape, layer.width, layer.patch, device)
        case Attention():
            return attention(layer, shape, net, device)
        case Gelu():
            return nn.GELU()
        case TokenMean():
            return MeanOfTokens()


def check_norm(layer: Site | Attention, shape: tuple[int, ...], net: Network) -> None:
    """Pass a batch through a norm, in training: one without meaning at this shape raises.

    Built-in norms see two samples of zeros, one where the batch is one, or a ghost batch: their
    rules know no other difference. One of another package sees its true batch, on the meta device,
    or on the CPU where it takes numbers; only :class:`UndefinedError` says that it has no meaning.
    """
    name = net.norm.name
    ghosts = net.norm.batch_size < net.batch_size
    if ghosts and name == "own" and depends_on_batch(**net.norm.params, shape=shape):
        raise UsageError(
            "norm_batch_size is for batch norm and what knows of it; a norm of your own takes its "
            "statistics from the whole batch; likely fix: leave norm_batch_size out, or write a "
            "norm that takes parts of the batch"
        )

    def forward(device: str, batch: int) -> None:
        part_of(layer, shape, net, device).train()(torch.zeros((batch, *shape), device=device))

    if is_foreign(name, net.norm.params):
        with guarded_norm(name, net.norm.params):
            try:
                forward("meta", net.batch_size)
            except UndefinedError:
                raise
            except (Exception, SystemExit):
                forward("cpu", net.batch_size)
        return
    try:
        forward("cpu", net.norm.batch_size if ghosts else min(net.batch_size, 2))
    except (RuntimeError, ValueError) as error:
        full = (net.batch_size, *shape)
        raise UndefinedError(f"no meaning for a batch of shape {full}: {error}") from None
