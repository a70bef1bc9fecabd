"""A norm of the user's own: built from its target, tried first, and of the kind that is found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from normbench.calibration.trial import why_not_stacked
from normbench.catalog import target as targets
from normbench.catalog.args import args_of
from normbench.errors import ComponentError, UndefinedError, UsageError
from normbench.norms import trial
from normbench.norms.factory import build_norm
from normbench.norms.own import depends_on_batch
from normbench.plan.code import fingerprints_of
from normbench.plan.edited import check_code
from normbench.plan.expand import expand
from normbench.protocol.load import load_protocol
from normbench.training.check import checked
from normbench.training.data import prepare

FILE = """
import random
import numpy as np
import torch
from torch import nn
from normbench.errors import UndefinedError

class Base(nn.Module):
    def __init__(self, channels, p=2):
        super().__init__()
        self.p = p
        self.weight = nn.Parameter(torch.ones(channels))
    def forward(self, x):
        axes = tuple(range(1, x.dim()))
        y = x / (x.abs() ** self.p).mean(axes, keepdim=True).add(1e-5) ** (1 / self.p)
        return y * self.weight.view(-1, *[1] * (x.dim() - 2))

class OfShape(Base):
    def __init__(self, shape):
        super().__init__(shape[0])
        self.shape = shape

def picky(channels):
    if channels > 8:
        raise UndefinedError("at most 8 channels")
    return Base(channels)

class Batch(Base):
    def forward(self, x):
        return x - x.mean(0, keepdim=True) + 0 * self.weight.sum()

class Builds(Base):
    def __init__(self, channels):
        super().__init__(channels)
        self.weight = nn.Parameter(torch.rand(channels))

class BuildsByNumpy(Base):
    def __init__(self, channels):
        super().__init__(channels)
        self.scale = float(np.random.rand() + random.random())

class Noise(Base):
    def forward(self, x):
        return super().forward(x) + torch.randn_like(x)

class OwnNoise(Base):
    def __init__(self, channels):
        super().__init__(channels)
        self.n = 0
    def forward(self, x):
        return super().forward(x) * (1 + torch.rand(1, generator=generator))
generator = torch.Generator().manual_seed(1)

class Shape(Base):
    def forward(self, x):
        return x[:, :1]

class Type(Base):
    def forward(self, x):
        return super().forward(x).double()

class InPlace(Base):
    def forward(self, x):
        x -= 1
        return super().forward(x)

class Infinite(Base):
    def forward(self, x):
        return super().forward(x) / 0

class Detached(Base):
    def forward(self, x):
        return super().forward(x.detach())

class Unused(Base):
    def forward(self, x):
        return x * 2

class Counts(Base):
    def __init__(self, channels):
        super().__init__(channels)
        self.register_buffer("seen", torch.zeros(()))
    def forward(self, x):
        self.seen += 1
        return super().forward(x)

class Tuple(Base):
    def forward(self, x):
        return x, x

class Raises(Base):
    def forward(self, x):
        raise KeyError("no such key")

def nothing(channels):
    return channels
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path):
    path = list(sys.path)
    (tmp_path / "mine.py").write_text(FILE)
    targets.use_root(str(tmp_path))
    yield tmp_path
    sys.path[:] = path
    targets._loaded.clear()
    targets.use_root("")


def build(name: str, of=(4, 3, 3), **args):
    params = {"target": f"mine.py:{name}", "args": args_of(args)}
    return build_norm("own", params, of, 8)


def test_it_is_called_with_the_channels_or_with_what_the_arguments_ask_for():
    assert build("Base").weight.shape == (4,)
    assert build("Base", p=3).p == 3
    assert build("Base", channels="$channels", p=1).p == 1
    assert build("OfShape", shape="$shape").shape == (4, 3, 3)
    with pytest.raises(UndefinedError, match="at most 8 channels"):
        build("picky", (16,))
    with pytest.raises(UsageError, match="gave int"):
        build("nothing")
    with pytest.raises(ComponentError, match="unexpected keyword argument 'q'"):
        build("Base", q=3)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Builds", "draws random numbers when it is built"),
        ("BuildsByNumpy", "draws random numbers when it is built"),
        ("Noise", "draws random numbers when it runs"),
        ("OwnNoise", "draws random numbers when it runs"),
        ("Shape", r"turned shape \(6, 4, 3, 3\) into \(6, 1, 3, 3\)"),
        ("Type", "keeps the type of its inputs"),
        ("InPlace", "changes its input in place"),
        ("Infinite", "infinite values or NaN"),
        ("Detached", "no gradient reaches its input"),
        ("Unused", "no gradient reaches weight"),
        ("Counts", "evaluation changes seen"),
        ("Tuple", "gives tuple"),
        ("Raises", r"KeyError: 'no such key' \(mine\.py, line"),
    ],
)
def test_what_cannot_be_compared_is_refused_for_what_it_is(name, said):
    state = torch.get_rng_state()
    with pytest.raises(ComponentError, match=said):
        build(name)
    assert torch.equal(state, torch.get_rng_state())


def test_all_faults_are_told_at_once():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            self.seen += 1
            return x * 2

    found = " ".join(trial.faults(Two, (4,)))
    assert "no gradient reaches weight" in found
    assert "evaluation changes seen" in found


def test_a_norm_is_tried_with_gradients_whoever_builds_it():
    with torch.no_grad():
        assert build("Base").weight.requires_grad
    with torch.no_grad(), pytest.raises(ComponentError, match="no gradient reaches weight"):
        build("Unused")


def test_kinds_are_found_by_trial():
    args = args_of({})
    assert not depends_on_batch("mine.py:Base", args, (4,))
    assert depends_on_batch("mine.py:Batch", args, (4,))
    assert not trial.stateless(lambda: torch.nn.BatchNorm1d(4), (4,))
    assert trial.stateless(lambda: torch.nn.LayerNorm(4), (4,))
    assert not trial.batch_independent(lambda: torch.nn.BatchNorm1d(4), (4,))


PROTOCOL = """
[protocol]
seeds = 3
[defaults]
dataset = {{ name = "{data}", items = 120 }}
model = {model}
batch_size = 4
learning_rate = 0.1
budget_steps = 2
[[experiment]]
name = "a"
norm = {{ name = "own", target = "mine.py:{name}" }}
"""


def first_run(folder: Path, name: str, model: str = '"mlp"', data: str = "digits", more: str = ""):
    path = folder / "p.toml"
    path.write_text(PROTOCOL.format(name=name, model=model, data=data) + more)
    study = load_protocol(path)
    run = expand(study, None, fingerprints_of(study))[0]
    check_code(run)
    return run


@pytest.mark.parametrize(
    ("model", "data"),
    [
        ('{ name = "mlp", width = 8 }', "digits"),
        ('{ name = "small-cnn", width = 4 }', "digits"),
        ('{ name = "resnet", width = 4 }', "digits"),
        ('{ name = "lstm", hidden = 4 }', "digits-rows"),
    ],
)
def test_seeds_train_together_where_the_trial_allows_it(folder, model, data):
    run = first_run(folder, "Base", model, data)
    assert checked(run.cell, {}).kind == "sound"
    assert why_not_stacked(run, prepare(run.cell)) == ""


def test_norms_of_the_batch_are_refused_where_they_have_no_meaning(folder):
    recurrent = first_run(folder, "Batch", '{ name = "lstm", hidden = 4 }', "digits-rows")
    found = checked(recurrent.cell, {})
    assert (found.kind, "no form for recurrent nets" in found.why) == ("misfit", True)
    ghosts = first_run(folder, "Batch", more="norm_batch_size = 2\n")
    found = checked(ghosts.cell, {})
    assert (found.kind, "whole batch" in found.why) == ("misfit", True)
    assert checked(first_run(folder, "Base", more="norm_batch_size = 2\n").cell, {}).kind == "sound"


def test_a_norm_that_raises_is_a_failure_and_an_absent_one_a_misfit(folder):
    assert checked(first_run(folder, "Raises").cell, {}).kind == "failed"
    assert checked(first_run(folder, "Noise").cell, {}).kind == "failed"
    found = checked(first_run(folder, "Bas").cell, {})
    assert (found.kind, "did you mean Base" in found.why) == ("misfit", True)
