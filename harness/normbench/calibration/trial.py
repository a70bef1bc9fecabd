"""Whether a cell's runs may be stacked: a few steps in float64, beside the plain engine's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from normbench.plan.spec import RunSpec
from normbench.training.data import Part, Prepared
from normbench.training.evaluate import Evaluation
from normbench.training.plain import PlainEngine
from normbench.training.stacked import StackedEngine

#: The largest difference that counts as rounding, of values at most about 1 and relative above.
TOLERANCE = 1e-9
#: Where a module computes in float32 within, as some do for their statistics, differences are
#: rounding up to so many times what a relative change of its inputs by ``_NUDGE`` makes of them.
_TIMES, _NUDGE = 4.0, 1e-10
_STEPS, _MEMBERS, _ITEMS = 3, 2, 16
#: The largest relative difference of losses that counts as rounding in a type of 16 bits.
_OF_16_BITS = 0.05


def why_not_stacked(run: RunSpec, data: Prepared) -> str:
    """Why runs of a cell cannot be trained by the stacked engine; empty where they can.

    Two members take three steps and are evaluated once, in float64 on the CPU, and so do two plain
    engines on the same items. What raises, or is further apart than rounding, has reasons that this
    tells in a line. Rounding is :data:`TOLERANCE`, or more where the plain engine itself makes more
    of a change of its inputs that is smaller than that.
    """
    runs = [replace(run, seed=run.seed + i) for i in range(_MEMBERS)]
    small = _small(data, run.cell.samples_per_step)
    items = torch.arange(_MEMBERS * _STEPS * run.cell.samples_per_step) % len(small.train)
    steps = list(items.view(_STEPS, _MEMBERS, -1))
    try:
        stacked = StackedEngine(runs, small)
        if getattr(stacked.module, "draws", False):
            return "its forward pass draws random numbers besides dropout's"
        with stacked.session():
            found = [*_numbers(stacked, steps)]
        for member, own in enumerate(runs):
            alone = [index[member][None] for index in steps]
            wanted = _plain(own, small, alone)
            apart = _apart([(what, value[member]) for what, value in found], wanted)
            if all(difference <= TOLERANCE for _, difference in apart):
                continue
            rounding = _apart(_plain(own, _nudged(small), alone), wanted)
            for (what, difference), (_, own_rounding) in zip(apart, rounding, strict=True):
                if not difference <= max(TOLERANCE, _TIMES * own_rounding):
                    return f"{what} of runs that are stacked differ by {difference:.1e}"
        if run.cell.precision != "fp32":
            return _apart_in_16_bits(runs, _small(data, run.cell.samples_per_step, torch.float32))
    except Exception as error:  # whatever a module of another package raises
        first = (str(error).splitlines() or [""])[0]
        return f"stacking raises {type(error).__name__}: {first}"[:300]
    return ""


def _apart_in_16_bits(runs: Sequence[RunSpec], small: Prepared) -> str:
    """As :func:`why_not_stacked`: float64 is left alone by autocast, so one step is taken in it."""
    index = torch.arange(len(runs) * runs[0].cell.samples_per_step) % len(small.train)
    index = index.view(len(runs), -1)
    stacked = StackedEngine(runs, small)
    with stacked.session():
        losses, _, _ = stacked.gradients(index)
        stacked.update(0)
        stacked.evaluate()
    for member, run in enumerate(runs):
        plain = PlainEngine(run, small)
        with plain.session():
            (wanted,), _, _ = plain.gradients(index[member][None])
        difference = _difference(losses[member], wanted)
        if not difference <= _OF_16_BITS:
            return f"losses of runs that are stacked differ by {difference:.1e} in 16 bits"
    return ""


Numbers = list[tuple[str, Tensor]]


def _plain(run: RunSpec, data: Prepared, steps: list[Tensor]) -> Numbers:
    """All that the plain engine gives of a run."""
    engine = PlainEngine(run, data)
    with engine.session():
        return [(what, value) for what, (value,) in _numbers(engine, steps)]


def _apart(found: Numbers, wanted: Numbers) -> list[tuple[str, float]]:
    pairs = zip(found, wanted, strict=True)
    return [(what, _difference(value, expected)) for (what, value), (_, expected) in pairs]


def _nudged(data: Prepared) -> Prepared:
    """The same data with inputs that are larger by a hair."""

    def part(whole: Part) -> Part:
        return replace(whole, x=whole.x * (1 + _NUDGE))

    return replace(
        data, train=part(data.train), validation=part(data.validation), test=part(data.test)
    )


def _numbers(
    engine: PlainEngine | StackedEngine, steps: list[Tensor]
) -> Iterator[tuple[str, list[Tensor]]]:
    """All that an engine gives, each with its name, by member."""
    members = range(len(engine.runs))
    for step, index in enumerate(steps):
        engine.begin(step)
        losses, outputs, _ = engine.gradients(index)
        yield f"losses of step {step + 1}", list(losses)
        yield f"outputs of step {step + 1}", list(outputs)
        engine.update(step)
    scores = engine.evaluate()
    yield "losses of an evaluation", [_losses(one) for one in scores]
    states = [{n: t.clone() for n, t in engine.export(m).state_dict().items()} for m in members]
    for name in states[0]:
        yield f"values of {name}", [state[name] for state in states]
    # a module that keeps a tensor outside its buffers cannot be exported
    x = engine.data.test.inputs(slice(0, _ITEMS))
    with torch.no_grad():
        yield "outputs of a module by itself", [engine.export(m).train(False)(x) for m in members]


def _losses(evaluation: Evaluation) -> Tensor:
    kinds = [*evaluation.validation.values(), *evaluation.test.values()]
    return torch.tensor([evaluation.train.loss, *(score.loss for score in kinds)])


def _difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative where values are larger than 1; equal NaN are equal."""
    if found.shape != expected.shape:
        return math.inf
    if not found.numel():
        return 0.0
    found, expected = found.detach().double(), expected.detach().double()
    same = (found == expected) | (found.isnan() & expected.isnan())
    apart = (found - expected).abs() / expected.abs().clamp(min=1.0)
    return float(torch.where(same, torch.zeros_like(apart), apart).nan_to_num(math.inf).max())


def _small(data: Prepared, items: int, dtype: torch.dtype = torch.float64) -> Prepared:
    """A few items of each part as numbers of a type, on the CPU."""
    count = max(_ITEMS, 2 * items)

    def part(whole: Part) -> Part:
        first = slice(0, min(count, len(whole)))
        y = whole.y[first].cpu()
        x = whole.inputs(first).cpu()
        return Part(
            x.to(dtype) if x.is_floating_point() else x, y.to(dtype) if y.is_floating_point() else y
        )

    train, validation, test = (part(p) for p in (data.train, data.validation, data.test))
    return replace(data, train=train, validation=validation, test=test)
