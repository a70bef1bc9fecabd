"""Putting another norm in the place of those that a network has."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from normbench.catalog import BATCH_STATISTICS, NORMS, nearest
from normbench.errors import UndefinedError, UsageError
from normbench.models.own.kept import kept
from normbench.models.own.places import Apart, ChannelsLast, Fused
from normbench.models.own.survey import NormSite, Survey, norms_of
from normbench.models.own.wish import Wish
from normbench.norms.batch import BatchNorm
from normbench.norms.factory import build_norm, changes_weights
from normbench.norms.group import divisors

#: The norm that changes nothing.
KEEP = "keep"
#: Parameters that a replaced norm's own values take the place of, where they have their defaults.
_CONSTANTS = {"eps": "eps", "momentum": "momentum"}


def chosen(wanted: str | Sequence[str], found: Survey) -> list[NormSite]:
    """The sites that are to be replaced, in order of their call.

    Raises :class:`UsageError` where a pattern matches nothing, or matches a subclass of a norm of
    which nobody knows what it computes.
    """
    if wanted == "fc":
        raise UsageError(
            "sites = fc is for built-in models; for a network of your own, likely fix: names with "
            'wildcards, such as sites = ["head.*"]'
        )
    patterns = ("*",) if wanted in ("all", "first-two") else tuple(wanted)
    given = [site for site in found.sites if site.kind.family == "given"]
    candidates = given or found.sites
    names = [name for site in candidates for name in site.names]
    for pattern in patterns if wanted not in ("all", "first-two") else ():
        if not any(fnmatchcase(name, pattern) for name in (*names, *found.unknown)):
            close = nearest(pattern, names)
            hint = f"did you mean {close!r}?" if close else "; ".join(names[:20]) or "it has none"
            raise UsageError(
                f"the network has no norm that matches {pattern!r}; likely fix: {hint}"
            )
    sites = [
        site
        for site in candidates
        if any(fnmatchcase(name, pattern) for name in site.names for pattern in patterns)
    ]
    if wanted == "first-two":
        return sites[:2]
    for name, kind in found.unknown.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            raise UsageError(
                f"the norm {name} is a {kind}, a subclass of a norm that may compute anything, and "
                "is not replaced; likely fix: use the class that it is made of, or leave it out by "
                "naming the others in sites"
            )
    return sites


@torch.no_grad()
def replace_norms(model: nn.Module, found: Survey, wish: Wish) -> dict[str, nn.Module]:
    """Put the norm at the sites; what stands there now, by the sites' first names.

    Batch norms that stay become ones of ours, which compute the same bits and can be evaluated
    with all statistics. Modules keep their device, their type of numbers, and whether they train.
    Raises :class:`UndefinedError` where the norm has no meaning at one of the shapes, and
    :class:`UsageError` where it does not fit.
    """
    if changes_weights(wish.norm.name):
        raise UsageError(
            f"the norm {wish.norm.name} changes the weights of built-in models' layers, and is not "
            "there for a network of your own; likely fix: leave it out, or use torch's own "
            "parametrization in the network itself"
        )
    names = {names[0]: module for module, names in norms_of(model).items()}
    wanted = chosen(wish.sites, found)
    replaced = [] if wish.norm.name == KEEP else [s for s in wanted if s.shape is not None]
    if not wanted and wish.norm.name not in (KEEP, "none"):
        raise UsageError(
            f"the network has no norm that could be replaced; received the norm {wish.norm.name}; "
            "likely fix: keep, or a network with norm layers"
        )
    if wanted and not any(site.shape is not None for site in wanted):
        raise UsageError("no norm of the network is reached by its forward pass")
    made: dict[str, nn.Module] = {}
    for site in found.sites:
        old = names[site.name]
        try:
            if site in replaced:
                made[site.name] = _new(site, old, wish)
            elif site.kind.family == "batch":
                made[site.name] = _finished(site, old, kept(site, old, wish))
        except (UndefinedError, UsageError) as error:
            raise type(error)(f"at {site.name}: {error}") from None
    for site in found.sites:
        if site.name in made:
            for name in site.names:
                _put(model, name, made[site.name])
    if wish.bias_before == "add" and not _removes_means(wish.norm.name):
        for site in replaced:
            if site.before and site.kind.family in ("batch", "frozen-batch", "given"):
                _add_bias(model.get_submodule(site.before))
    return made


def parameters_at(site: NormSite, old: nn.Module, wish: Wish) -> dict[str, Any]:
    """The norm's parameters at one site: as the protocol has them, or fitted to what was there."""
    params = dict(wish.norm.params)
    known = NORMS[wish.norm.name].params
    if wish.constants == "carry":
        for name, attribute in _CONSTANTS.items():
            same_use = name == "eps" or wish.norm.name == "batch"
            untouched = name in known and params[name] == known[name].default
            if same_use and untouched and hasattr(old, attribute):
                params[name] = _constant(name, getattr(old, attribute), params[name])
    if wish.on_misfit == "largest-divisor" and site.shape is not None:
        for name in ("groups", "group_size"):
            if params.get(name):
                fitting = [n for n in divisors(site.shape[0]) if n <= params[name]]
                params[name] = fitting[-1]
        if params.get("group_size"):
            params["groups"] = known["groups"].default
    return params


def _constant(name: str, value: Any, default: Any) -> Any:
    if isinstance(value, int | float):
        return float(value)
    return torch.finfo(torch.float32).eps if name == "eps" else default


def _new(site: NormSite, old: nn.Module, wish: Wish) -> nn.Module:
    assert site.shape is not None  # noqa: S101  (only those that are reached are replaced)
    norm = wish.norm
    batch = norm.batch_size * site.rows
    if site.fault and BATCH_STATISTICS in NORMS[norm.name].traits:
        raise UndefinedError(f"statistics over items have no meaning: {site.fault}")
    if site.fault and len(site.shape) < 1:
        raise UndefinedError(site.fault)
    module = build_norm(norm.name, parameters_at(site, old, wish), site.shape, batch)
    if isinstance(module, BatchNorm):
        module.rows = site.rows
        module.ghost = batch if norm.batch_size < wish.batch_size else 0
    if type(module) is nn.Identity:
        module = Apart()
    module = module.to(*_place(old))
    if wish.affine == "carry":
        _carry(old, module)
    return _finished(site, old, module)


def _finished(site: NormSite, old: nn.Module, module: nn.Module) -> nn.Module:
    if site.last:
        module = ChannelsLast(module)
    if site.kind.then:
        module = Fused(module, [getattr(old, name) for name in site.kind.then])
    return module.train(old.training)


def _place(old: nn.Module) -> tuple[torch.device | str, torch.dtype]:
    """The device and the type of a module's numbers."""
    for tensor in (*old.parameters(), *old.buffers()):
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return "cpu", torch.float32


def _carry(old: nn.Module, new: nn.Module) -> None:
    """Take a norm's scale, shift, running statistics, and whether they train, to another."""
    for name in ("weight", "bias"):
        before, after = getattr(old, name, None), getattr(new, name, None)
        if isinstance(before, Tensor) and isinstance(after, nn.Parameter):
            fitting = _fitted(before, after)
            if fitting is not None:
                after.copy_(fitting)
            after.requires_grad_(before.requires_grad or not isinstance(before, nn.Parameter))
    if isinstance(new, BatchNorm):
        for name in ("running_mean", "running_var"):
            before = getattr(old, name, None)
            if isinstance(before, Tensor):
                getattr(new, name).copy_(before)


def _fitted(before: Tensor, after: Tensor) -> Tensor | None:
    """Values per channel in the shape of those per element, or as they are; None if none fits."""
    if before.shape == after.shape:
        return before
    if before.dim() == 1 and after.dim() > 1 and after.shape[0] == before.shape[0]:
        return before.reshape(-1, *([1] * (after.dim() - 1))).expand(after.shape)
    return None


def _removes_means(name: str) -> bool:
    """Whether a norm takes off each channel's mean, so that a bias before it is without effect."""
    return name in (KEEP, "instance") or BATCH_STATISTICS in NORMS[name].traits


def _add_bias(layer: nn.Module) -> None:
    if getattr(layer, "bias", None) is None:
        weight = layer.weight
        assert isinstance(weight, Tensor)  # noqa: S101  (it is a convolution or a linear layer)
        outputs = getattr(layer, "out_channels", None) or getattr(layer, "out_features", None)
        layer.bias = nn.Parameter(weight.new_zeros(int(outputs or weight.shape[0])))


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    if not child:
        raise UsageError("the network is a norm and nothing else")
    model.get_submodule(parent)._modules[child] = module
