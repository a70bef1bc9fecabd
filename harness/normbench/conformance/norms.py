"""What every norm must do, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from normbench.catalog import BATCH_INDEPENDENT, NORMS
from normbench.conformance.formulas import FORMULAS
from normbench.errors import UndefinedError
from normbench.norms.factory import build_norm, changes_weights, wrap_layer

#: A vector and an image, with channels that two groups and eight divide.
SHAPES: tuple[tuple[int, ...], ...] = ((16,), (16, 5, 4))
_BATCH = 6


class ConformanceError(AssertionError):
    """A component does not do what its kind must do; the message says what."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConformanceError(message)


def default_params(name: str) -> dict[str, Any]:
    """A norm's parameters at their defaults."""
    return {key: param.default for key, param in NORMS[name].params.items()}


def _inputs(shape: tuple[int, ...], seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0.5, 3.0, shape[0], dtype=torch.float64)
    x = torch.randn((_BATCH, *shape), generator=generator, dtype=torch.float64)
    wide = scale.reshape(1, -1, *([1] * (len(shape) - 1)))
    return x * wide + 2.0 * wide


def _fixed_layer(shape: tuple[int, ...]) -> nn.Module:
    """A linear layer or a convolution that keeps ``shape``, with weights that draw nothing."""
    if len(shape) == 1:
        layer = nn.utils.skip_init(nn.Linear, shape[0], shape[0])  # type: ignore[no-untyped-call]
    else:
        layer = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Conv2d, shape[0], shape[0], 3, padding=1
        )
    with torch.no_grad():
        for parameter in layer.parameters():
            values = torch.linspace(-1.0, 1.0, parameter.numel()) ** 3 + 0.1
            parameter.copy_(values.reshape(parameter.shape))
    return cast(nn.Module, layer)


def make(name: str, shape: tuple[int, ...], batch_size: int = _BATCH) -> nn.Module:
    """A norm at its defaults for samples of ``shape``; one that changes weights wraps a layer."""
    if changes_weights(name):
        return wrap_layer(name, default_params(name), _fixed_layer(shape))
    return build_norm(name, default_params(name), shape, batch_size)


def _built(name: str) -> Iterator[tuple[tuple[int, ...], nn.Module]]:
    """The norm at every shape at which it is defined."""
    defined = 0
    for shape in SHAPES:
        try:
            module = make(name, shape)
        except UndefinedError:
            continue
        defined += 1
        yield shape, module.double()
    _require(defined > 0, f"the norm {name} is defined neither for vectors nor for images")


def check_formula(name: str) -> None:
    """In training at scale 1 and shift 0, the output is the formula's, to 1e-10 in float64."""
    formula = FORMULAS.get(name)
    for shape, module in _built(name):
        x = _inputs(shape)
        y = module.train()(x)
        _require(y.shape == x.shape, f"{name} turned shape {tuple(x.shape)} into {tuple(y.shape)}")
        if formula is not None:
            expected = torch.from_numpy(formula(x.numpy(), default_params(name)))
            worst = float((y - expected).abs().max().detach())
            _require(worst < 1e-10, f"{name} at {shape} differs from its formula by {worst:.3g}")


def check_gradients(name: str) -> None:
    """Gradients agree with finite differences for inputs and parameters."""
    for shape, module in _built(name):
        small = (_BATCH, *shape[:1], *(2 for _ in shape[1:]))
        if tuple(small[1:]) != shape:
            module = make(name, small[1:]).double()
        x = _inputs(small[1:]).requires_grad_()
        module.train()

        def forward(x: Tensor, *parameters: Tensor, module: nn.Module = module) -> Tensor:
            names = [n for n, _ in module.named_parameters()]
            state: dict[str, Tensor] = dict(zip(names, parameters, strict=True))
            state |= {n: b.clone() for n, b in module.named_buffers()}
            found: Tensor = torch.func.functional_call(module, state, (x,))
            return found

        parameters = [p.detach().clone().requires_grad_() for p in module.parameters()]
        good = torch.autograd.gradcheck(forward, (x, *parameters), raise_exception=False)
        _require(good, f"the gradients of {name} at {shape} are not those of its output")


def check_batch_independence(name: str) -> None:
    """A norm that promises so gives a sample the same output whatever else is in the batch."""
    if BATCH_INDEPENDENT not in NORMS[name].traits:
        return
    for shape, module in _built(name):
        x, other = _inputs(shape), _inputs(shape, seed=2)
        for mode in (True, False):
            module.train(mode)
            mixed = torch.cat([x[:2], other[2:]])
            same = torch.allclose(module(x)[:2], module(mixed)[:2], rtol=0, atol=1e-12)
            _require(same, f"{name} at {shape}: a sample's output depends on the batch")
            alone = torch.allclose(module(x)[:1], module(x[:1]), rtol=0, atol=1e-12)
            _require(alone, f"{name} at {shape}: a sample alone gets another output")


def check_modes(name: str) -> None:
    """Evaluation changes no buffer; a batch-independent norm computes the same in both modes."""
    independent = BATCH_INDEPENDENT in NORMS[name].traits
    for shape, module in _built(name):
        x = _inputs(shape)
        trained = module.train()(x)
        before = {n: b.clone() for n, b in module.named_buffers()}
        evaluated = module.eval()(x)
        for buffer, value in module.named_buffers():
            same = torch.equal(before[buffer], value)
            _require(same, f"{name} at {shape}: evaluation changes the buffer {buffer}")
        if independent:
            same = torch.allclose(trained, evaluated, rtol=0, atol=1e-12)
            _require(same, f"{name} at {shape}: training and evaluation differ")


def check_no_draws(name: str) -> None:
    """Building and running a norm draws no random number, so that seeds stay paired."""
    state = torch.get_rng_state()
    for shape, module in _built(name):
        module.train()(_inputs(shape))
    drew = not torch.equal(state, torch.get_rng_state())
    torch.set_rng_state(state)
    _require(not drew, f"{name} draws from the global generator")


def check_meta(name: str) -> None:
    """A norm can be built on the meta device, where plans look for undefined shapes."""
    for shape in SHAPES:
        try:
            if changes_weights(name):
                module = make(name, shape).to("meta")
            else:
                with torch.device("meta"):
                    module = make(name, shape)
        except UndefinedError:
            continue
        y = module.train()(torch.empty((_BATCH, *shape), device="meta"))
        _require(tuple(y.shape) == (_BATCH, *shape), f"{name}: wrong shape on the meta device")


#: All checks by name.
CHECKS: dict[str, Callable[[str], None]] = {
    "formula": check_formula,
    "gradients": check_gradients,
    "batch independence": check_batch_independence,
    "modes": check_modes,
    "no draws": check_no_draws,
    "meta device": check_meta,
}


def check_norm(name: str) -> None:
    """Run every check on a norm of the catalogue; raises :class:`ConformanceError`."""
    for check in CHECKS.values():
        check(name)
