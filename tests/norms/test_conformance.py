"""Every norm of the catalogue passes the conformance suite, and broken norms do not."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from normbench.catalog import BATCH_INDEPENDENT, NORMS, Entry, Param
from normbench.conformance import CHECKS, ConformanceError, check_norm, of_catalogue
from normbench.conformance.formulas import FORMULAS
from normbench.conformance.norms import failures
from normbench.errors import UndefinedError
from normbench.norms.factory import changes_weights


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", NORMS.complete)
def test_every_norm_conforms(name: str, check: str) -> None:
    assert failures(check, of_catalogue(name)) == ()


def test_every_built_in_norm_of_activations_has_a_formula() -> None:
    assert set(FORMULAS) == {name for name in NORMS.complete if not changes_weights(name)}


@pytest.mark.parametrize("shape", [(6, 16), (6, 16, 3, 2)])
def test_the_formulas_are_those_of_torch(shape: tuple[int, ...]) -> None:
    """The judge is judged: torch's own functions in float64."""
    x = np.random.default_rng(0).normal(2.0, 3.0, shape)
    t = torch.from_numpy(x)
    f = nn.functional
    wanted: dict[str, Callable[[], Tensor]] = {
        "none": lambda: t,
        "batch": lambda: f.batch_norm(t, None, None, training=True, eps=0.1),
        "layer": lambda: f.layer_norm(t, shape[1:], eps=0.1),
        "group": lambda: f.group_norm(t, 4, eps=0.1),
        "instance": lambda: f.instance_norm(t, eps=0.1),
        "batch-renorm": lambda: f.batch_norm(t, None, None, training=True, eps=0.1),
        "batch-frozen": lambda: f.batch_norm(t, None, None, training=True, eps=0.1),
        "layer-channels": lambda: f.layer_norm(t.movedim(1, -1), (16,), eps=0.1).movedim(-1, 1),
        "rms": lambda: f.rms_norm(t, shape[1:], eps=0.1),
        # torch takes the mean over the window, the paper the sum
        "lrn": lambda: f.local_response_norm(t, 5, alpha=5 * 0.02, beta=0.75, k=2.0),
        "dyt": lambda: 2 * torch.sigmoid(2 * 0.02 * t) - 1,
        # twice the normal distribution function of √2 times the argument, less one
        "derf": lambda: 2 * torch.special.ndtr(math.sqrt(2) * (0.02 * t + 0.3)) - 1,
    }
    params = {"eps": 0.1, "groups": 4, "n": 5, "alpha": 0.02, "beta": 0.75, "k": 2.0,
              "shift": 0.3}  # fmt: skip
    for name, formula in FORMULAS.items():
        if name in ("instance", "lrn") and len(shape) == 2:
            continue  # torch's own are for images
        found = formula(x, params)
        assert np.abs(found - wanted[name]().numpy()).max() < 1e-12, name


# -- the suite finds what is wrong -------------------------------------------------------------

Build = Callable[..., nn.Module]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Adds a norm to the catalogue for one test and gives its name."""

    def add(build: Build, name: str = "broken", traits: frozenset[str] = frozenset()) -> str:
        module = ModuleType("a_foreign_package")
        module.build = build  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        entry = Entry(
            f"{module.__name__}:build", "a norm under test",
            params={"eps": Param(1e-5, "added to the variance")}, traits=traits,
        )  # fmt: skip
        monkeypatch.setitem(NORMS._entries, name, entry)
        return name

    return add


INDEPENDENT = frozenset({BATCH_INDEPENDENT})


class Scaled(nn.Module):
    """A norm that does what the function it is made of does."""

    def __init__(self, function: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class WrongGradient(torch.autograd.Function):
    """y = 2x with the gradient of y = 3x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        del ctx
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        del ctx
        return 3 * gradient


def _counts_in_evaluation(module: nn.Module, x: Tensor) -> Tensor:
    if not module.training:
        module.seen += 1  # type: ignore[operator]
    return x


def _draws(module: nn.Module, x: Tensor) -> Tensor:
    torch.rand(1)
    return x


BROKEN: list[tuple[str, str, Callable[[nn.Module, Tensor], Tensor], frozenset[str]]] = [
    ("formula", "turned shape", lambda m, x: x[:, :8], frozenset()),
    ("gradients", "not those of its output", lambda m, x: WrongGradient.apply(x), frozenset()),
    ("batch independence", "depends on the batch", lambda m, x: x - x.mean(0), INDEPENDENT),
    ("batch independence", "alone gets another", lambda m, x: x * x.shape[0], INDEPENDENT),
    ("modes", "changes the buffer seen", _counts_in_evaluation, frozenset()),
    ("modes", "training and evaluation differ", lambda m, x: x * m.training, INDEPENDENT),
    ("no draws", "draws random numbers when it runs", _draws, frozenset()),
    ("meta device", "wrong shape", lambda m, x: x[:, :8], frozenset()),
]


@pytest.mark.parametrize(("check", "said", "function", "traits"), BROKEN)
def test_a_broken_norm_fails_the_check_it_breaks(
    registered: Callable[..., str], check: str, said: str, function: Any, traits: frozenset[str]
) -> None:
    name = registered(lambda shape, eps: Scaled(function), traits=traits)
    assert re.search(said, " ".join(failures(check, of_catalogue(name))))
    with pytest.raises(ConformanceError, match=said):
        check_norm(name)


def test_a_known_name_with_another_formula_fails(registered: Callable[..., str]) -> None:
    name = registered(lambda shape, eps: nn.LayerNorm(shape, eps=10 * eps), name="layer")
    (said,) = failures("formula", of_catalogue(name))[:1]
    assert "differs from its formula" in said


def test_drawing_while_being_built_is_found(registered: Callable[..., str]) -> None:
    def build(shape: tuple[int, ...], eps: float) -> nn.Module:
        torch.rand(1)
        return nn.Identity()

    (said, _) = failures("no draws", of_catalogue(registered(build)))
    assert "draws random numbers when it is built" in said


def test_a_norm_that_is_defined_nowhere_fails(registered: Callable[..., str]) -> None:
    def build(shape: tuple[int, ...], eps: float) -> nn.Module:
        raise UndefinedError("never")

    with pytest.raises(ConformanceError, match="neither for vectors nor for images"):
        check_norm(registered(build))


def test_a_good_foreign_norm_passes(registered: Callable[..., str]) -> None:
    check_norm(registered(lambda shape, eps: nn.LayerNorm(shape, eps=eps), traits=INDEPENDENT))
