"""The network's norm as a module for one of its sites: of samples, of tokens, of heads."""

from __future__ import annotations

from math import prod

import torch
from torch import nn

from normbench.catalog import BATCH_STATISTICS, NORMS
from normbench.errors import UndefinedError, UsageError
from normbench.models.describe import Network
from normbench.models.layers import Attention
from normbench.models.tokens import SelfAttention, TokenNorm
from normbench.norms.batch import BatchNorm
from normbench.norms.factory import build_norm, stands_at_sites
from normbench.norms.own import depends_on_batch

Shape = tuple[int, ...]


def site_norm(shape: Shape, net: Network, device: str) -> nn.Module:
    """The norm for samples of ``shape``; see :func:`~normbench.norms.factory.build_norm`."""
    with torch.device(device):
        norm = build_norm(net.norm.name, net.norm.params, shape, net.norm.batch_size)
    if isinstance(norm, BatchNorm) and net.norm.batch_size < net.batch_size:
        norm.ghost = net.norm.batch_size
    return norm


def token_norm(shape: Shape, net: Network, device: str) -> nn.Module:
    """The norm for samples of tokens (…, tokens, features); ``nn.Identity`` where there is none."""
    name, params = net.norm.name, net.norm.params
    batch = BATCH_STATISTICS in NORMS[name].traits
    if name == "own":
        batch = depends_on_batch(**params, shape=shape[-1:])
    of_one = (shape[-1], prod(shape[:-1])) if batch else shape[-1:]
    norm = site_norm(of_one, net, device)
    return norm if type(norm) is nn.Identity else TokenNorm(norm, batch)


def attention(layer: Attention, shape: Shape, net: Network, device: str) -> SelfAttention:
    """Self-attention with norms at those of its sites at which the network has one."""
    of_head = (layer.heads, shape[0], shape[1] // layer.heads)
    norms: list[nn.Module] = [nn.Identity(), nn.Identity()]
    for i, site in enumerate(layer.sites):
        if site in net.sites and stands_at_sites(net.norm.name):
            try:
                norms[i] = token_norm(of_head, net, device)
            except (UndefinedError, UsageError) as error:
                raise type(error)(f"at site {site}: {error}") from None
    query, key = norms
    return SelfAttention(shape[1], layer.heads, layer.causal, query, key, device)
