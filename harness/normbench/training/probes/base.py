"""What a probe is given and gives, and the loss as a function of the parameters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp

#: Parameters, gradients or directions by the parameters' names.
State = dict[str, Tensor]
Batch = tuple[Tensor, Tensor]

#: Quantities that average over probe batches use as many as hold this many items (at least
#: one, and no more than there are), so that small batches do not make them noisier for nothing.
ITEMS = 64


class Measurement(NamedTuple):
    """One number: the quantity, its layer (empty for the whole model) and what was measured.

    A quantity that has no value at a moment (a drift at the first evaluation, the cosine with a
    gradient that is zero) is left out rather than given as NaN; numbers that overflow stay
    infinite or NaN.
    """

    probe: str
    layer: str
    value: float


@dataclass(frozen=True)
class ProbeContext:
    """A network between two training steps, and what a probe may look at it with.

    ``model`` is a private plain copy in training mode; a probe leaves its parameters, buffers
    and modes and all random generators as it found them. ``loss`` is the mean loss of (outputs,
    labels). ``batches`` are inputs and labels of the cell's batch size, the same for all norms
    and all moments of a seed. ``learning_rate``, ``momentum`` and ``weight_decay`` are those of
    the last step, the rate after scaling and schedule. ``previous`` holds the parameters before
    the last training step, by name, and is None before the first step. ``memory`` is kept from
    one moment of a run to the next and belongs to one probe alone.
    """

    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    batches: tuple[Batch, ...]
    learning_rate: float
    momentum: float
    weight_decay: float
    previous: Mapping[str, Tensor] | None
    memory: dict[str, Any] = field(default_factory=dict)


Probe = Callable[[ProbeContext], Iterable[Measurement]]


# -- layers -------------------------------------------------------------------------------------

_NORMS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.modules.batchnorm._NormBase,
    *([nn.RMSNorm] if hasattr(nn, "RMSNorm") else []),
)


def plain_name(name: str) -> str:
    """A module's name as in a model's list of layers: without the container it lies in.

    The model itself, where it is a layer of its own, is called ``model``.
    """
    return name.removeprefix("parts.") or "model"


@dataclass(frozen=True)
class WeightLayer:
    """A layer with weights: its name, its module and the full names of its parameters.

    ``weights`` are those of at least two dimensions, which map inputs to outputs and whose first
    dimension is the output's; ``own`` are all that the module itself holds (with biases and
    weight norm's scale, without those of modules within it).
    """

    name: str
    module: nn.Module
    weights: tuple[str, ...]
    own: tuple[str, ...]


def weight_layers(model: nn.Module) -> list[WeightLayer]:
    """The convolutions, linear layers, recurrent cells and the like of a model, in its order.

    A layer is any module that holds a trainable parameter of two or more dimensions and is no
    normalization: neither one of torch's nor one at a site (its name ends in ``_norm``). Weight
    norm's direction v counts as the weight of its layer. The order is that of the model's
    parameters, which in this package's models is the order of computation.
    """
    found = []
    for name, module in model.named_modules():
        if isinstance(module, _NORMS) or name.rpartition(".")[2].endswith("norm"):
            continue
        own = [(n, p) for n, p in module.named_parameters(recurse=False) if p.requires_grad]
        prefix = f"{name}." if name else ""
        weights = tuple(prefix + n for n, p in own if p.dim() >= 2)
        if weights:
            names = tuple(prefix + n for n, _ in own)
            found.append(WeightLayer(plain_name(name), module, weights, names))
    return found


def parameters_of(model: nn.Module) -> State:
    """The trainable parameters by name, detached; they share the model's memory."""
    return {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}


# -- nothing moves ------------------------------------------------------------------------------


def _generators(model: nn.Module) -> list[torch.Generator]:
    """The generators that layers of a model hold, as dropout with a stream of its own does."""
    held = (getattr(module, "generator", None) for module in model.modules())
    return [g for g in held if isinstance(g, torch.Generator)]


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Training mode within this context; modes and random states return afterwards.

    Since every generator returns to where it stood, each evaluation in a context of its own
    draws the same dropout masks. Covered are torch's global generators (the CPU's, and that of
    the model's device) and those that layers hold.
    """
    modes = [(module, module.training) for module in model.modules()]
    held = [(g, g.get_state()) for g in _generators(model)]
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    everywhere = torch.get_rng_state()
    on_devices = [(d, torch.cuda.get_rng_state(d)) for d in devices]
    if not all(training for _, training in modes):
        model.train()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for generator, state in held:
            generator.set_state(state)
        torch.set_rng_state(everywhere)
        for device, state in on_devices:
            torch.cuda.set_rng_state(state, device)


# -- the loss as a function of the parameters ---------------------------------------------------


class ProbeLoss:
    """The mean loss over some probe batches, as a function of the trainable parameters.

    Each evaluation is in training mode (batch norm uses the statistics of each batch), on clones
    of the buffers, and with the same dropout masks; the model is not touched. ``batches`` are the
    first that hold :data:`ITEMS` items unless given.
    """

    def __init__(self, context: ProbeContext, batches: Sequence[Batch] | None = None) -> None:
        self.context = context
        self.batches = first_batches(context) if batches is None else tuple(batches)
        self.here = parameters_of(context.model)

    def __call__(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """The loss () at these parameters, differentiable and fit for torch.func."""
        model = self.context.model
        losses = []
        with undisturbed(model):
            for x, y in self.batches:
                # cloned in here, so that a transform of torch.func may write to them
                buffers = {n: b.clone() for n, b in model.named_buffers()}
                outputs = functional_call(model, {**parameters, **buffers}, (x,))
                losses.append(self.context.loss(outputs, y))
        return torch.stack(losses).mean()

    def value(self, parameters: Mapping[str, Tensor]) -> float:
        """The loss at these parameters as a number."""
        with torch.no_grad():
            return float(self(parameters))

    def value_and_gradient(
        self, parameters: Mapping[str, Tensor], of: Iterable[str] | None = None
    ) -> tuple[float, State]:
        """The loss at these parameters and its gradient, by all of them or by those named."""
        wanted = list(parameters if of is None else of)
        leaves = {n: p.detach() for n, p in parameters.items()}
        for name in wanted:
            leaves[name] = leaves[name].clone().requires_grad_()
        with torch.enable_grad():
            loss = self(leaves)
        gradients = torch.autograd.grad(loss, [leaves[n] for n in wanted], materialize_grads=True)
        return float(loss.detach()), dict(zip(wanted, gradients, strict=True))

    def gradient(self, parameters: Mapping[str, Tensor], of: Iterable[str] | None = None) -> State:
        """The gradient at these parameters, by all of them or by those named."""
        return self.value_and_gradient(parameters, of)[1]

    def hessian_product(self, parameters: State, direction: State) -> State:
        """The Hessian at these parameters times a direction, by ``jvp(grad)``.

        About the cost of three evaluations with gradient; right for batch, layer, group and
        instance norm and for the weight norm of this package, where torch's own
        parametrization has a wrong second derivative on the CPU.
        """
        with warnings.catch_warnings():  # torch itself calls what it deprecates, at its first jvp
            warnings.filterwarnings("ignore", ".*torch.jit.script.*deprecated", FutureWarning)
            product = jvp(grad(self), (parameters,), (direction,))[1]
        return cast(State, product)


def first_batches(context: ProbeContext, items: int = ITEMS) -> tuple[Batch, ...]:
    """The first probe batches that together hold ``items`` items: at least one, at most all."""
    size = max(1, len(context.batches[0][1]))
    return context.batches[: max(1, -(-items // size))]


# -- vectors ------------------------------------------------------------------------------------


def flat(tensors: Mapping[str, Tensor], names: Iterable[str] | None = None) -> Tensor:
    """All values, or those of the named tensors, as one float64 vector."""
    chosen = list(tensors if names is None else names)
    if not chosen:
        return torch.zeros(0, dtype=torch.float64)
    return torch.cat([tensors[n].detach().flatten() for n in chosen]).double()


def moved(start: Mapping[str, Tensor], direction: Mapping[str, Tensor], step: float) -> State:
    """start + step·direction."""
    return {n: p + step * direction[n] for n, p in start.items()}


def cosine(a: Tensor, b: Tensor) -> float | None:
    """The cosine between two vectors, exactly 1 for equal ones; None if one is zero."""
    largest = [float(v.abs().max()) for v in (a, b)]
    if 0.0 in largest:
        return None
    a, b = a / largest[0], b / largest[1]  # else the squares of tiny gradients would vanish
    return float(a.dot(b)) / math.sqrt(float(a.dot(a)) * float(b.dot(b)))


def mean(values: Iterable[float]) -> float:
    """The mean of at least one number."""
    found = list(values)
    return sum(found) / len(found)


def shaped(vector: Tensor, like: Mapping[str, Tensor]) -> State:
    """A flat vector cut into tensors of the shapes and types of ``like``: undoes :func:`flat`."""
    pieces = torch.split(vector, [p.numel() for p in like.values()])
    return {
        n: piece.reshape(p.shape).to(p.dtype)
        for (n, p), piece in zip(like.items(), pieces, strict=True)
    }
