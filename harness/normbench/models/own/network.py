"""A network of the user's own as the engines see it: a module with norms of ours in it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normbench.catalog.guard import guarding
from normbench.catalog.target import load, made, packages_of_target
from normbench.datasets.drawing import drawing
from normbench.errors import UsageError
from normbench.models.describe import NormSpec
from normbench.models.dropout import StreamDropout
from normbench.models.own.kinds import Given
from normbench.models.own.places import Fused
from normbench.models.own.replace import KEEP, replace_norms
from normbench.models.own.survey import ITEMS, Survey, logits_of, survey
from normbench.models.own.weights import load_weights
from normbench.models.own.wish import Wish
from normbench.norms.schedule import Scheduled
from normbench.plan.seeds import stream_key
from normbench.protocol.schema import Cell

#: Items of the pass that tries a norm, at most.
_TRIED = 8


@dataclass(frozen=True, kw_only=True)
class OwnModel:
    """What a protocol says of a network of the user's own: parameters of the model ``torch``."""

    target: str
    args: Mapping[str, Any]
    weights: str
    via: str
    affine: str
    constants: str
    bias_before: str
    on_misfit: str


@dataclass(frozen=True)
class Made:
    """The user's network before any norm is replaced, and what is not as its file of weights."""

    module: nn.Module
    fresh: tuple[str, ...] = ()


class OwnNet(Scheduled, nn.Module):
    """The user's network with the norm of a cell at its sites.

    What it draws in a forward pass comes from generators of (seed, ``forward``, step). ``draws``
    says whether it does, besides dropout; ``found`` is what it had, and ``norms`` what stands there
    now, by the sites' names.
    """

    def __init__(self, cell: Cell, shape: tuple[int, ...], classes: int, seed: int) -> None:
        super().__init__()
        self.cell, self.shape, self.classes = cell, shape, classes
        made_ = made_with(cell, shape, classes, seed)
        self.net, self.fresh = made_.module, made_.fresh
        self.found = _surveyed(cell, self.net, shape, classes)
        self.seed = seed
        self.norms: Mapping[str, nn.Module] = replace_norms(self.net, self.found, wish_of(cell))

    @property
    def draws(self) -> bool:
        """Whether a training step draws random numbers besides dropout's."""
        return self.found.draws

    @property
    def site_norms(self) -> list[nn.Module]:
        """The norms at the sites, without the activations that are fused with some."""
        return [norm.norm if isinstance(norm, Fused) else norm for norm in self.norms.values()]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What people should know of the network, a line each."""
        weights = model_of(self.cell).weights
        fresh = [f"{name} is not taken from {weights}: its shape differs" for name in self.fresh]
        return (*self.found.warnings, *fresh)

    @torch.no_grad()
    def restart(self, seed: int) -> None:
        """Set the initial weights of another seed, in place."""
        self.seed = seed
        other = OwnNet(self.cell, self.shape, self.classes, seed)
        for own, fresh in (
            (self.parameters(), other.parameters()),
            (self.buffers(), other.buffers()),
        ):
            for tensor, value in zip(own, fresh, strict=True):
                tensor.copy_(value)
        for module in self.modules():
            if isinstance(module, StreamDropout):
                module.seed(seed, torch.device("cpu"))

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (N, …) to logits (N, classes)."""
        place = f"step {self.step}" if self.training else "evaluation"
        with drawing(stream_key(self.seed, "forward", place), x.device), no_shortcuts():
            return logits_of(self.net(x))

    def tried(self) -> None:
        """Pass a small batch through a copy, in training.

        Raises :class:`UndefinedError` where a norm has no meaning for it, and what the network
        raises.
        """
        private = copy.deepcopy(self).train()
        items = min(_TRIED, self.cell.statistics_batch)
        x = torch.randn((items, *self.shape), generator=torch.Generator().manual_seed(0))
        with guarding(packages_in(self.cell), UsageError):
            private(x)


@contextmanager
def no_shortcuts() -> Iterator[None]:
    """Within, torch's attention layers compute what they are made of.

    In evaluation they may compute a whole layer at once, with layer norm's formula in place of
    whatever stands there.
    """
    kept = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(kept)


def model_of(cell: Cell) -> OwnModel:
    """The parameters of a cell's network."""
    return OwnModel(**cell.model.params)


def packages_in(cell: Cell) -> set[str]:
    """The top-level packages whose code a forward pass of the cell's network runs."""
    norm = getattr(cell.norm, "target", "")
    targets = [model_of(cell).target, *([norm] if norm else [])]
    return set().union(*map(packages_of_target, targets))


def wish_of(cell: Cell) -> Wish:
    """What a cell asks for at its network's sites.

    Raises :class:`UsageError` for axes that would be without effect.
    """
    for axis, default, why in (
        ("position", "pre", "a norm stands where the network has one"),
        ("init", "torch", "it sets its own initial weights"),
    ):
        received = getattr(cell, axis)
        if received != default:
            raise UsageError(
                f"{axis} = {received!r} has no meaning for a network of your own: {why}; leave "
                f"{axis} out"
            )
    if cell.batch_size % cell.statistics_batch:
        raise UsageError(
            "norm_batch_size must divide batch_size, so that all ghost batches are whole; "
            f"received {cell.statistics_batch} and {cell.batch_size}"
        )
    model = model_of(cell)
    return Wish(
        norm=NormSpec(cell.norm.name, cell.norm.params, cell.statistics_batch),
        batch_size=cell.batch_size,
        sites=cell.sites,
        affine=model.affine,
        constants=model.constants,
        bias_before=model.bias_before,
        on_misfit=model.on_misfit,
    )


def made_with(cell: Cell, shape: tuple[int, ...], classes: int, seed: int) -> Made:
    """The user's network with the initial weights of a seed, or its trained ones.

    Its dropout is one that draws from the streams of the seed. Layers that learn their shapes from
    a first input have seen one.
    """
    model = model_of(cell)
    args, target = dict(model.args), model.target
    values: dict[str, Any] = {"classes": classes, "in_shape": shape, "in_channels": shape[0]}
    if model.via and cell.norm.name != KEEP:
        args[model.via] = "$norm_layer"
        values["norm_layer"] = Given
    with drawing(stream_key(seed, "init", "network")):
        module = made(target, args, values)
        if not isinstance(module, nn.Module):
            raise UsageError(
                f"the target of a model gives a torch module; {target} gave "
                f"{type(module).__name__}; likely fix: a function that returns one"
            )
        with guarding(packages_of_target(target)):
            if any(isinstance(p, nn.UninitializedParameter) for p in module.parameters()):
                training = module.training
                with torch.no_grad():
                    module.eval()(torch.zeros((ITEMS, *shape)))
                module.train(training)
    fresh = load_weights(module, model.weights, classes) if model.weights else ()
    for name, inner in list(module.named_modules()):
        for child, dropout in list(inner.named_children()):
            if type(dropout) is nn.Dropout:
                stream = StreamDropout(f"{name}.{child}".lstrip("."), dropout.p)
                stream.seed(seed, torch.device("cpu"))
                inner._modules[child] = stream.train(dropout.training)
    return Made(module, fresh)


_surveys: dict[tuple[Any, ...], Survey] = {}
_MOST_SURVEYS = 64


def _surveyed(cell: Cell, module: nn.Module, shape: tuple[int, ...], classes: int) -> Survey:
    """What a network has: looked at once a process for each way to make it."""
    model = model_of(cell)
    kept = bool(model.via) and cell.norm.name == KEEP
    key = (load(model.target), cell.model, kept, shape, classes)
    if key not in _surveys:
        with guarding(packages_of_target(model.target), UsageError):
            found = survey(module, shape)
        _check_outputs(found, classes)
        if model.via and not kept and all(s.kind.family != "given" for s in found.sites):
            raise UsageError(
                f"the target {model.target} takes {model.via} and makes no layer of it; "
                "likely fix: leave via out"
            )
        while len(_surveys) >= _MOST_SURVEYS:
            _surveys.pop(next(iter(_surveys)))
        _surveys[key] = found
    return _surveys[key]


def _check_outputs(found: Survey, classes: int) -> None:
    if len(found.outputs) < 2 or found.outputs[0] != ITEMS or found.outputs[-1] != classes:
        raise UsageError(
            f"the network must give {classes} outputs for each item; for {ITEMS} items it gives "
            f'the shape {found.outputs}; likely fix: an argument such as num_classes = "$classes"'
        )
