"""What every norm must do, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from normbench.conformance.formulas import FORMULAS
from normbench.conformance.subject import SHAPES, Subject, of_catalogue
from normbench.errors import UsageError
from normbench.norms import trial


class ConformanceError(AssertionError):
    """A component does not do what its kind must do; the message says what."""


#: Finds what is wrong with a norm: a sentence for each thing, none where nothing is.
Check = Callable[[Subject], Iterator[str]]


def _at(subject: Subject) -> Iterator[tuple[tuple[int, ...], nn.Module, Tensor]]:
    """The norm at every shape at which it is defined, in float64, with a batch of samples."""
    for shape in subject.shapes():
        module = subject.build(shape).double()
        yield shape, module, trial.sample(shape, dtype=torch.float64)


def check_defined(subject: Subject) -> Iterator[str]:
    """A norm is defined for vectors or for images."""
    if not subject.shapes():
        yield f"the norm {subject.label} is defined neither for vectors nor for images"
        yield from (f"at {shape}: {subject.unfit(shape)}" for shape in SHAPES)


def check_draws(subject: Subject) -> Iterator[str]:
    """Building and running a norm draws no random number, so that seeds stay paired."""
    for shape in subject.shapes():
        where = trial.draws(partial(subject.build, shape), trial.sample(shape))
        if where:
            yield f"it draws random numbers {where}, at {shape}: runs of a seed would not be paired"


def check_training(subject: Subject) -> Iterator[str]:
    """What training in float32 rests on: see :func:`normbench.norms.trial.faults`."""
    for shape in subject.shapes():
        found = trial.faults(partial(subject.build, shape), shape)
        yield from (f"at {shape}: {fault}" for fault in found)


def check_formula(subject: Subject) -> Iterator[str]:
    """In training at scale 1 and shift 0, the output is the formula's, to 1e-10 in float64."""
    formula = FORMULAS.get(subject.label)
    for shape, module, x in _at(subject):
        y = module.train()(x)
        if y.shape != x.shape:
            yield f"{subject.label} turned shape {tuple(x.shape)} into {tuple(y.shape)}"
        elif formula is not None:
            expected = torch.from_numpy(formula(x.numpy(), dict(subject.params)))
            worst = float((y - expected).abs().max().detach())
            if not worst < 1e-10:
                yield f"{subject.label} at {shape} differs from its formula by {worst:.3g}"


def check_gradients(subject: Subject) -> Iterator[str]:
    """Gradients agree with finite differences for inputs and parameters."""
    for shape in subject.shapes():
        small = (*shape[:1], *(2 for _ in shape[1:]))
        module = subject.build(small).double().train()
        x = trial.sample(small, dtype=torch.float64)

        def forward(x: Tensor, *parameters: Tensor, module: nn.Module = module) -> Tensor:
            names = [n for n, _ in module.named_parameters()]
            state: dict[str, Tensor] = dict(zip(names, parameters, strict=True))
            state |= {n: b.clone() for n, b in module.named_buffers()}
            found: Tensor = torch.func.functional_call(module, state, (x.clone(),))
            return found

        parameters = [p.detach().clone().requires_grad_() for p in module.parameters()]
        given = (x.clone().requires_grad_(), *parameters)
        if torch.autograd.gradcheck(forward, given, raise_exception=False):
            continue
        # one that computes in float32 within cannot be compared at steps of 1e-6
        blunt = torch.equal(forward(x, *parameters), forward(x * (1 + 1e-11), *parameters))
        if blunt and torch.autograd.gradcheck(
            forward, given, eps=1e-2, atol=2e-2, rtol=2e-2, raise_exception=False
        ):
            continue
        yield f"the gradients of {subject.label} at {small} are not those of its output"


def check_batch_independence(subject: Subject) -> Iterator[str]:
    """A norm that promises so gives a sample the same output whatever else is in the batch."""
    for shape, module, x in _at(subject) if subject.independent else ():
        other = trial.sample(shape, seed=2, dtype=torch.float64)
        for mode in (True, False):
            module.train(mode)
            mixed = torch.cat([x[:2], other[2:]])
            if not torch.allclose(module(x)[:2], module(mixed)[:2], rtol=0, atol=1e-12):
                yield f"{subject.label} at {shape}: a sample's output depends on the batch"
            if not torch.allclose(module(x)[:1], module(x[:1]), rtol=0, atol=1e-12):
                yield f"{subject.label} at {shape}: a sample alone gets another output"


def check_modes(subject: Subject) -> Iterator[str]:
    """Evaluation changes no buffer; a batch-independent norm computes the same in both modes."""
    for shape, module, x in _at(subject):
        trained = module.train()(x)
        for buffer in trial.changed_buffers(module.eval(), x):
            yield f"{subject.label} at {shape}: evaluation changes the buffer {buffer}"
        if subject.independent and not torch.allclose(trained, module(x), rtol=0, atol=1e-12):
            yield f"{subject.label} at {shape}: training and evaluation differ"


def check_state(subject: Subject) -> Iterator[str]:
    """What training changes is a parameter or a buffer: copies, devices and files know no other."""
    for shape, module, x in _at(subject):
        before = trial.plain_state(module)
        module.train()(x)
        for name, value in trial.plain_state(module).items():
            if not trial.same(before.get(name), value):
                yield (
                    f"{subject.label} at {shape}: training changes {name}, which is no buffer; "
                    "likely fix: register_buffer"
                )


def check_meta(subject: Subject) -> Iterator[str]:
    """A norm can be built on the meta device, where plans look for undefined shapes."""
    for shape in subject.shapes():
        with torch.device("cpu" if subject.wraps else "meta"):
            module = subject.build(shape)
        if subject.own:  # it may look at numbers when it runs: then it is tried on the CPU
            continue
        x = torch.empty((trial.BATCH, *shape), device="meta")
        y = module.to("meta").train()(x)
        if tuple(y.shape) != tuple(x.shape):
            yield f"{subject.label}: wrong shape on the meta device"


#: All checks by name, in the order in which they are made.
CHECKS: dict[str, Check] = {
    "defined": check_defined,
    "no draws": check_draws,
    "training": check_training,
    "formula": check_formula,
    "gradients": check_gradients,
    "batch independence": check_batch_independence,
    "modes": check_modes,
    "state": check_state,
    "meta device": check_meta,
}
#: What needs a norm that is a function of its inputs.
_JUDGED_WITHOUT_DRAWS = ("training", "formula", "gradients", "batch independence", "modes", "state")


#: Checks without which others cannot be made, and what is said of those.
_CAUSES = {"defined": "it does not run", "no draws": "it draws random numbers"}


@dataclass(frozen=True)
class Finding:
    """What a check found: ``failed`` with what is wrong, or ``not judged`` with why not."""

    check: str
    state: Literal["passed", "failed", "not judged"]
    said: tuple[str, ...] = ()


def failures(check: str, subject: Subject) -> tuple[str, ...]:
    """What a check finds wrong, each once; what the norm raises in it is a finding too.

    Raises :class:`UsageError` where there is no such norm.
    """
    try:
        return tuple(dict.fromkeys(CHECKS[check](subject)))
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        return (f"{subject.label} raises {subject.told(error)}",)


def examine(subject: Subject) -> list[Finding]:
    """What every check finds; none of them is left out because another failed, but for cause.

    A norm that draws random numbers is told so, and not that its gradients were wrong.
    """
    found: list[Finding] = []
    # a norm of the user's own promises nothing and has no formula: what it is, is found by trial
    checks = [c for c in CHECKS if not (subject.own and c in ("formula", "batch independence"))]
    for check in checks:
        failed = {one.check for one in found if one.state == "failed"}
        for cause, said in _CAUSES.items():
            if cause in failed and (cause == "defined" or check in _JUDGED_WITHOUT_DRAWS):
                found.append(Finding(check, "not judged", (said,)))
                break
        else:
            found.append(_found(check, subject))
    return found


def _found(check: str, subject: Subject) -> Finding:
    said = failures(check, subject)
    return Finding(check, "failed" if said else "passed", said)


def check_norm(name: str) -> None:
    """Make every check on a norm of the catalogue; raises :class:`ConformanceError` with all."""
    failed = [one for one in examine(of_catalogue(name)) if one.state == "failed"]
    if failed:
        raise ConformanceError(
            "\n".join(f"{one.check}: {said}" for one in failed for said in one.said)
        )
