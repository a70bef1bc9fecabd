"""What a foreign norm is, found by trying it on a few samples: fit to be compared, of which kind.

What is tried here is what training rests on: a tensor of the same shape and type, nothing drawn,
finite gradients that reach the input and every parameter, inputs and, in evaluation, buffers left
alone. The conformance suite tries more.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

BATCH = 6
#: The largest difference that counts as rounding, of values around 1.
_TOLERANCE = 1e-4

Make = Callable[[], nn.Module]


def sample(
    shape: tuple[int, ...], seed: int = 1, dtype: torch.dtype = torch.float32, batch: int = BATCH
) -> Tensor:
    """A batch of samples of ``shape``, (C,) or (C, …), whose channels differ in size and mean."""
    generator = torch.Generator("cpu").manual_seed(seed)
    scale = torch.linspace(0.5, 3.0, shape[0], dtype=dtype, device="cpu")
    x = torch.randn((batch, *shape), generator=generator, dtype=dtype, device="cpu")
    wide = scale.reshape(1, -1, *([1] * (len(shape) - 1)))
    return x * wide + 2.0 * wide


def draws(make: Make, x: Tensor) -> str:
    """Where a norm draws random numbers: when it is built, or when it runs; "" for nowhere.

    One that gives other outputs a second time has a generator of its own.
    """
    with _generators_kept() as moved:
        module = make().train()
        if moved():
            return "when it is built"
        other = copy.deepcopy(module)
        with torch.no_grad():
            first, second = module(x.clone()), other(x.clone())
        same = isinstance(first, Tensor) and isinstance(second, Tensor)
        if moved() or (same and not torch.equal(*map(torch.nan_to_num, (first, second)))):
            return "when it runs"
    return ""


def faults(make: Make, shape: tuple[int, ...]) -> Iterator[str]:
    """Why a norm cannot be compared with others at samples of ``shape``, each a sentence."""
    x = sample(shape)
    where = draws(make, x)
    if where:
        yield (
            f"it draws random numbers {where}: runs that share a seed would not be paired; likely "
            "fix: start from fixed values, and compute without draws"
        )
        return
    # whoever builds the norm may do so without gradients
    with _generators_kept(), torch.inference_mode(False), torch.enable_grad():
        yield from [*_of_training(make().train(), x)]


def _of_training(module: nn.Module, x: Tensor) -> Iterator[str]:
    given = x.clone().requires_grad_()
    inside = given * 1.0
    y = module(inside)
    if not isinstance(y, Tensor):
        yield f"it gives {type(y).__name__}, where a norm gives a tensor"
        return
    if y.shape != x.shape:
        yield f"it turned shape {tuple(x.shape)} into {tuple(y.shape)}; a norm keeps the shape"
        return
    if y.dtype != x.dtype:
        yield f"it turned {x.dtype} into {y.dtype}; a norm keeps the type of its inputs"
    if not torch.equal(inside.detach(), x):
        yield "it changes its input in place, which a residual net adds again afterwards"
    if not y.isfinite().all():
        yield "it gives infinite values or NaN for finite inputs"
    weights = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if y.grad_fn is None:
        yield "no gradient reaches its input"
        return
    weight = torch.linspace(-1.0, 1.0, y.numel()).view_as(y).to(y.dtype)
    tensors = [given, *weights.values()]
    found = torch.autograd.grad((y * weight).sum(), tensors, allow_unused=True)
    for name, gradient in zip(["its input", *weights], found, strict=True):
        if gradient is None:
            yield f"no gradient reaches {name}: what is trained must take part in the output"
        elif not gradient.isfinite().all():
            yield f"the gradient of {name} is infinite or NaN"
    changed = changed_buffers(module.eval(), x)
    if changed:
        yield f"evaluation changes {', '.join(changed)}, which only training may"


def changed_buffers(module: nn.Module, x: Tensor) -> list[str]:
    """The buffers of a module that running it as it is changes."""
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    with torch.no_grad():
        module(x.clone())
    return [n for n, buffer in module.named_buffers() if not torch.equal(before[n], buffer)]


def plain_state(module: nn.Module) -> dict[str, Any]:
    """Numbers that modules hold besides parameters and buffers, by name; copies of tensors."""
    found: dict[str, Any] = {}
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            where = f"{path}.{name}" if path else name
            if isinstance(value, Tensor):
                found[where] = value.detach().clone()
            elif isinstance(value, int | float | complex):
                found[where] = value
    return {name: value for name, value in found.items() if not name.endswith("training")}


def same(before: Any, after: Any) -> bool:
    """Whether two values of :func:`plain_state` are equal; NaN is equal to itself."""
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        return before.shape == after.shape and torch.equal(before.nan_to_num(), after.nan_to_num())
    return type(before) is type(after) and bool(before == after or before != before)


def stateless(make: Make, shape: tuple[int, ...]) -> bool:
    """Whether training leaves all buffers of a norm as they are."""
    with _generators_kept():
        return not changed_buffers(make().train(), sample(shape))


def batch_independent(make: Make, shape: tuple[int, ...]) -> bool:
    """Whether a sample's output is the same whatever else is in the batch, in training too."""
    x, other = sample(shape), sample(shape, seed=2)
    mixed = torch.cat([x[:2], other[2:]])
    with _generators_kept(), torch.no_grad():
        module = make()
        for mode in (True, False):
            module.train(mode)
            whole = module(x.clone())
            for inputs in (mixed, x[:2]):
                found = module(inputs.clone())[:2]
                if not torch.allclose(whole[:2], found, rtol=_TOLERANCE, atol=_TOLERANCE):
                    return False
    return True


class _generators_kept:  # noqa: N801  (a context, used like a function)
    """The global generators are as before afterwards; within, a call tells whether they moved."""

    def __enter__(self) -> Callable[[], bool]:
        self._before = self._state()
        torch_state, numpy_state, own = self._before

        def moved() -> bool:
            now = self._state()
            same = torch.equal(torch_state, now[0]) and own == now[2]
            return not (same and _equal(numpy_state, now[1]))

        return moved

    def __exit__(self, *_error: object) -> None:
        torch_state, numpy_state, own = self._before
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(own)

    @staticmethod
    def _state() -> tuple[Tensor, Any, Any]:
        return torch.get_rng_state(), np.random.get_state(), random.getstate()


def _equal(a: Any, b: Any) -> bool:
    return all(
        np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y
        for x, y in zip(a, b, strict=True)
    )
