"""What every probe must do, whoever wrote it."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from normbench.catalog import NORMS, PROBES
from normbench.conformance.norms import ConformanceError
from normbench.conformance.subject import default_params
from normbench.models.describe import Network, NormSpec
from normbench.models.layers import Conv, Dropout, Flatten, Layer, Linear, MaxPool, activated
from normbench.models.plain import Net, build, initialise
from normbench.training.probes.base import Batch, Measurement, ProbeContext

#: Items of a probe batch.
BATCH = 8


def tiny_net(norm: str, *, dropout: float = 0.25) -> Net:
    """Two convolutions of four channels on 4×4 images, dropout and a classifier, in float64.

    The norm has its default parameters, but two groups where it has groups, and stands behind
    both convolutions. All parameters are a little off their initial values.
    """
    params = {k: 2 if k == "groups" else v for k, v in default_params(norm).items()}
    layers: list[Layer] = [
        *activated(Conv("conv1", 4, kernel=3, padding=1)),
        MaxPool(2, 2),
        *activated(Conv("conv2", 4, kernel=3, padding=1)),
        Flatten(),
        *([Dropout("dropout", dropout)] if dropout else []),
        Linear("classifier", 3),
    ]
    sites = frozenset(("conv1", "conv2"))
    spec = NormSpec(norm, params, BATCH)
    model = build(Network(tuple(layers), (1, 4, 4), BATCH, spec, sites, "pre"))
    initialise(model, 3, "he")
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise.to(parameter), alpha=0.1)
    return model.double()


def tiny_batches(count: int = 2, size: int = BATCH) -> tuple[Batch, ...]:
    """Batches of random 4×4 images and labels of three classes, always the same."""
    generator = torch.Generator().manual_seed(5)
    return tuple(
        (
            torch.randn((size, 1, 4, 4), generator=generator, dtype=torch.float64) + 0.5,
            torch.randint(3, (size,), generator=generator),
        )
        for _ in range(count)
    )


def context_of(model: nn.Module, **settings: Any) -> ProbeContext:
    """A moment of a model for 4×4 images, on :func:`tiny_batches` but for ``settings``."""
    given: dict[str, Any] = {
        "loss": functional.cross_entropy,
        "batches": tiny_batches(),
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "previous": None,
        "memory": {},
    }
    return ProbeContext(model=model, **(given | settings))


def traces(model: nn.Module, batches: Iterable[Batch] = ()) -> dict[str, Any]:
    """Copies of everything in which a probe could leave a trace, by name."""
    found: dict[str, Any] = {n: t.clone() for n, t in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        found[f"the gradient of {name}"] = copy.deepcopy(parameter.grad)
        found[f"whether {name} is trained"] = parameter.requires_grad
    for name, module in model.named_modules():
        found[f"the mode of {name or 'the model'}"] = module.training
        hooks = len(module._forward_hooks) + len(module._forward_pre_hooks)
        found[f"the hooks of {name or 'the model'}"] = hooks
        held = getattr(module, "generator", None)
        if isinstance(held, torch.Generator):
            found[f"the generator of {name}"] = held.get_state()
    for i, (x, y) in enumerate(batches):
        found |= {f"the inputs of batch {i}": x.clone(), f"the labels of batch {i}": y.clone()}
    found["the global generator"] = torch.get_rng_state()
    found["whether gradients are recorded"] = torch.is_grad_enabled()
    return found


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names whose values differ, or which only one side has."""

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            return torch.equal(a, b)
        return bool(a is b or (type(a) is type(b) and not isinstance(a, Tensor) and a == b))

    missing = [name for name in other if name not in one]
    return [n for n, value in one.items() if n not in other or not same(value, other[n])] + missing


def _read(name: str, context: ProbeContext) -> dict[tuple[str, str], float]:
    """A probe's values by quantity and layer; they must be named, finite and given once."""
    named = {quantity.name for quantity in PROBES[name].gives}
    found: dict[tuple[str, str], float] = {}
    for value in map(Measurement._make, PROBES[name].load()(context)):
        key = (value.probe, value.layer)
        place = f"{value.probe!r} of {value.layer!r}" if value.layer else repr(value.probe)
        if value.probe not in named:
            raise ConformanceError(f"the probe {name} gives {place}, which its entry does not name")
        if key in found:
            raise ConformanceError(f"the probe {name} gives {place} twice")
        if not isinstance(value.value, float) or not math.isfinite(value.value):
            raise ConformanceError(
                f"the probe {name} gives {value.value!r} for {place}; it must be a finite float "
                "(leave out what has no value)"
            )
        found[key] = value.value
    return found


def check_probe(name: str, norm: str = "batch") -> None:
    """Run a probe of the catalogue on a tiny net with this norm; see the messages for its rules.

    It gives quantities that its entry names, once for each layer and as finite floats; leaves
    parameters, buffers, modes, hooks, generators, gradients and batches as they were; gives the
    same again at the same moment; and computes in training mode whatever mode the model is in.
    A probe that has nothing to say of a classifier may give nothing. Raises
    :class:`ConformanceError`.
    """
    NORMS[norm]
    model, batches = tiny_net(norm), tiny_batches()
    previous = {n: 0.9 * p.detach() for n, p in model.named_parameters()}
    context = context_of(model, batches=batches, previous=previous)
    before = traces(model, batches)
    first = _read(name, context)
    if moved := differing(before, traces(model, batches)):
        raise ConformanceError(f"the probe {name} changes {', '.join(moved)}")
    model.eval()
    again = _read(name, context_of(model, batches=batches, previous=previous))
    if any(module.training for module in model.modules()):
        raise ConformanceError(f"the probe {name} leaves a model in another mode than it found it")
    if first != again:
        raise ConformanceError(
            f"the probe {name} gives other values at the same moment of a model in "
            "evaluation mode: it must compute in training mode, and draw nothing at random"
        )
