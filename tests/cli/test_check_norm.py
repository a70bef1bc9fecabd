"""``normbench check-norm``: every failure, named for what it is, and what was found by trial."""

from __future__ import annotations

import json
import sys

import pytest

from normbench.catalog import target as targets

FILE = """
import torch
from torch import nn

class Rms(nn.Module):
    def __init__(self, channels, p=2):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
    def forward(self, x):
        axes = tuple(range(1, x.dim()))
        y = x * torch.rsqrt(x.pow(2).mean(axes, keepdim=True) + 1e-5)
        return y * self.weight.view(-1, *[1] * (x.dim() - 2))

class Noise(Rms):
    def forward(self, x):
        return super().forward(x) * torch.rand(())

class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x
    @staticmethod
    def backward(ctx, gradient):
        return 3 * gradient

class Wrong(Rms):
    def __init__(self, channels):
        super().__init__(channels)
        self.seen = 0
    def forward(self, x):
        self.seen += 1
        return Twice.apply(super().forward(x))

class Float32(Rms):
    def forward(self, x):
        return super().forward(x.float()).to(x.dtype)
"""


@pytest.fixture(autouse=True)
def _file(tmp_path):
    path = list(sys.path)
    (tmp_path / "mine.py").write_text(FILE)
    yield
    sys.path[:] = path
    targets._loaded.clear()
    targets.use_root("")


def found(cli, *arguments):
    said = cli("check-norm", *arguments, "--json")
    content = json.loads(said.out)
    return said.status, content, {one["check"]: one for one in content["findings"]}


def test_a_good_norm_passes_and_is_told_what_it_is(cli):
    said = cli("check-norm", "mine.py:Rms", "--args", '{ channels = "$channels", p = 3 }')
    assert (said.status, said.err) == (0, "")
    for text in (
        "ok     gradients", "does not depend on the rest of its batch", "keeps nothing in buffers",
        "engine: stacked", "times that with batch norm",
    ):  # fmt: skip
        assert text in said.out
    assert "FAILED" not in said.out


def test_one_that_draws_is_told_so_and_nothing_else(cli):
    status, content, findings = found(cli, "mine.py:Noise")
    assert (status, content["passed"]) == (1, False)
    assert [c for c, one in findings.items() if one["state"] == "failed"] == ["no draws"]
    assert findings["gradients"]["state"] == "not judged"
    assert "draws random numbers when it runs" in findings["no draws"]["said"][0]


def test_all_failures_are_listed(cli):
    status, _, findings = found(cli, "mine.py:Wrong")
    assert status == 1
    failed = {c: one["said"] for c, one in findings.items() if one["state"] == "failed"}
    assert set(failed) == {"gradients", "state"}
    assert len(failed["gradients"]) == 2
    assert "changes seen, which is no buffer" in failed["state"][0]
    said = cli("check-norm", "mine.py:Wrong")
    assert all(text in said.out for texts in failed.values() for text in texts)


def test_computing_in_float32_within_is_no_wrong_gradient(cli):
    status, _, findings = found(cli, "mine.py:Float32")
    assert (status, findings["gradients"]["state"]) == (0, "passed")


def test_one_for_vectors_alone_is_tried_on_vectors(cli):
    status, content, _ = found(cli, "torch.nn:BatchNorm1d")
    assert status == 0
    assert content["model"] == "mlp"
    assert "4D input" in content["unfit"]["images"]
    assert (content["stateless"], content["batch_independent"]) == (False, False)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.py:X"], "which is not there"),
        (["mine.py:Rm"], "did you mean Rms"),
        (["mine.py"], "file.py:attribute"),
        (["subprocess:run"], "none of Python's own modules"),
        (["mine.py:Rms", "--args", "p=3"], "TOML table"),
        (["mine.py:Rms", "--args", '{ c = "$chanels" }'], "known: "),
    ],
)
def test_what_cannot_be_asked_ends_with_2(cli, arguments, said):
    ended = cli("check-norm", *arguments)
    assert ended.status == 2
    assert said in ended.err
