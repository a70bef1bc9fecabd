"""The packed form of a norm does what its plain form does, for every norm that has one."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch.nn import functional

from normbench.conformance.norms import ConformanceError
from normbench.conformance.subject import default_params
from normbench.errors import UndefinedError, UsageError
from normbench.models.describe import Network, NormSpec
from normbench.models.layers import Conv, Flatten, Layer, Linear, MaxPool, activated
from normbench.models.packed import PackedNet, UnsupportedError
from normbench.models.plain import Net, build, initialise
from normbench.norms.schedule import scheduled, set_step

_BATCH, _MEMBERS, _STEPS, _RATE = 6, 3, 3, 0.02
_TOLERANCE = 1e-9
#: Two small networks, with channels that two groups and eight divide.
_NETWORKS: tuple[tuple[tuple[int, ...], tuple[Layer, ...]], ...] = (
    ((20,), (*activated(Linear("a", 32)), *activated(Linear("b", 32)), Linear("top", 4))),
    (
        (2, 7, 6),
        (
            *activated(Conv("a", 16, kernel=3, padding=1)),
            MaxPool(2, 2),
            *activated(Conv("b", 16, kernel=2)),
            Flatten(),
            Linear("top", 4),
        ),
    ),
)


def check_packed(name: str) -> None:
    """Packed and plain members train and evaluate alike, in float64, before and after activations.

    Raises :class:`ConformanceError`. A norm that says that it needs the plain loop passes.
    """
    for shape, layers in _NETWORKS:
        for position in ("pre", "post"):
            spec = NormSpec(name, default_params(name), _BATCH)
            net = Network(layers, shape, _BATCH, spec, frozenset({"a", "b"}), position)
            try:
                plain = build(net).double()
            except (UndefinedError, UsageError):
                continue
            try:
                packed = PackedNet(net, _MEMBERS, dtype=torch.float64)
            except UnsupportedError:
                return
            _compare(net, packed, [copy.deepcopy(plain) for _ in range(_MEMBERS)])


def _compare(net: Network, packed: PackedNet, made: list[Net]) -> None:
    generator = torch.Generator().manual_seed(1)
    for member, plain in enumerate(made):
        initialise(plain, member, "torch")
        packed.load(member, plain)
    where = f"{net.norm.name} at {net.shape}, position {net.position}"
    x = torch.empty(0)
    for step in range(_STEPS):
        packed.set_step(step, _STEPS)
        set_step([norm for plain in made for norm in scheduled(plain)], step, _STEPS)
        size = (_MEMBERS * _BATCH, *net.shape)
        x = torch.randn(size, generator=generator, dtype=torch.float64)
        y = torch.randint(4, (_MEMBERS, _BATCH), generator=generator)
        losses, logits = packed.train_batch(packed.arrange(x), y)
        packed.flat.sub_(packed.flat_gradient, alpha=_RATE)
        for member, plain in enumerate(made):
            outputs = plain.train()(x.view(_MEMBERS, _BATCH, *net.shape)[member])
            loss = functional.cross_entropy(outputs, y[member])
            _step(plain, loss)
            _require_equal(f"the loss of {where}", loss, losses[member])
            _require_equal(f"the output of {where}", outputs, logits[member])
    evaluated = packed.evaluator(_BATCH).logits(x[:_BATCH])
    for member, plain in enumerate(made):
        stored = copy.deepcopy(plain)
        packed.store(member, stored)
        for (key, theirs), mine in zip(
            plain.state_dict().items(), stored.state_dict().values(), strict=True
        ):
            _require_equal(f"{key} of {where}", theirs, mine)
        wanted = plain.eval()(x[:_BATCH])
        _require_equal(f"the output in evaluation of {where}", wanted, evaluated[member])


def _step(plain: Net, loss: Tensor) -> None:
    parameters = list(plain.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.sub_(gradient, alpha=_RATE)


def _require_equal(what: str, plain: Tensor, packed: Tensor) -> None:
    worst = float((plain.detach() - packed).abs().max())
    if not worst < _TOLERANCE:
        raise ConformanceError(f"{what} is not the same in packed form: off by {worst:.3g}")
