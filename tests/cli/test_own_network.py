"""A network of the user's own, from a protocol to results and a report; and ``inspect``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import normbench

_NET = """
from torch import nn


def make(num_classes, width=4):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
        nn.Flatten(), nn.Linear(36 * width, num_classes),
    )
"""
_PROTOCOL = """
[protocol]
seeds = 2
[defaults]
model = { name = "torch", target = "mynet.py:make", args = { num_classes = "$classes" } }
dataset = { name = "digits", items = 100 }
learning_rate = 0.05
batch_size = 8
epochs = 1
[[experiment]]
name = "swap"
[experiment.product]
norm = ["keep", { name = "group", group_size = 2 }, "none"]
"""


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    (tmp_path / "mynet.py").write_text(_NET, encoding="utf-8")
    path = tmp_path / "swap.toml"
    path.write_text(_PROTOCOL, encoding="utf-8")
    return path


def test_from_a_protocol_to_a_report(cli, protocol: Path) -> None:
    said = cli("run", "swap.toml", "--trust", "--workers", "1")
    assert said.status == 0, said.err
    runs = normbench.load("results/swap").runs
    assert set(runs["status"]) == {"finished"}
    assert set(runs["norm"]) == {"keep", "group(group_size=2)", "none"}
    assert set(runs["model"]) == {"mynet.py:make"}
    protocol.with_name("mynet.py").unlink()
    said = cli("report", "results/swap", "--format", "md")
    assert said.status == 0, said.err


def test_inspect_shows_every_site_and_what_norms_make_of_it(cli, protocol: Path) -> None:
    assert cli("inspect", "swap.toml").status == 2  # its code was never allowed
    said = cli("inspect", "swap.toml", "--trust")
    assert said.status == 0, said.err
    assert "mynet.py:make, digits(items=100): inputs (1, 8, 8), 10 outputs" in said.out
    assert "1  BatchNorm2d  4 × 6 × 6\n" in said.out
    assert "keep: BatchNorm(4, eps=1e-05, momentum=0.1, affine=True)" in said.out
    assert "group(group_size=2): GroupNorm(2, 4, eps=1e-05, affine=True" in said.out
    assert "none: nothing" in said.out
    assert "keep: engine stacked or plain (whichever is faster)" in said.out
    assert not (protocol.parent / "results").exists()
    (network,) = json.loads(cli("inspect", "swap.toml", "--json", "--no-engines").out)
    of = {norm["norm"]: norm for norm in network["norms"]}
    # 1·4·9 and 144·10 + 10 weights, 8 of batch norm; without it 4 biases take their place
    counts = {n: (x["parameters"], x["gained"], x["lost"]) for n, x in of.items()}
    assert counts == {
        "keep": (1494, 0, 0),
        "group(group_size=2)": (1498, 4, 0),
        "none": (1490, 4, 8),
    }
    assert all(list(x["memory"]) == ["8"] and x["memory"]["8"] > 0 for x in of.values())


def test_inspect_says_what_does_not_fit_and_goes_on(cli, protocol: Path) -> None:
    text = protocol.read_text(encoding="utf-8")
    text = text.replace("batch_size = 8\n", "").replace('"none"]', '"none", "instance"]')
    text = text.replace("group_size = 2", "group_size = 3") + "batch_size = [1, 4]\n"
    protocol.write_text(text, encoding="utf-8")
    said = cli("inspect", "swap.toml", "--trust", "--no-engines")
    assert said.status == 0, said.err
    assert "batch size 1: at 1: group norm needs a group_size that divides the channels" in said.out
    assert "instance: InstanceNorm2d(4" in said.out


def test_inspect_shows_the_sites_of_built_in_models(cli, protocol: Path) -> None:
    text = _PROTOCOL.split("model = ")[0] + 'model = "small-cnn"\n'
    text += _PROTOCOL.split('"$classes" } }\n')[1].replace('"keep", ', "")
    protocol.write_text(text.replace("group_size = 2", "groups = 2"), encoding="utf-8")
    said = cli("inspect", "swap.toml", "--no-engines")
    assert said.status == 0, said.err
    assert "conv1\n    group(groups=2): GroupNorm(2, 16" in said.out


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("mynet.py:make", "mynet.py:mak", "mynet.py has no mak; did you mean make?"),
        ("mynet.py:make", "other.py:make", "needs the file"),
        ('"$classes"', "3", "the network must give 10 outputs for each item"),
        ("batch_size = 8", 'batch_size = 8\nsites = ["layer4.*"]', "no norm that matches"),
        ("batch_size = 8", 'batch_size = 8\ninit = "he"', "no meaning for a network of your own"),
        ('"none"', '"weight"', "changes the weights of built-in models' layers"),
        ('"none"', '{ name = "group", groups = 3 }', "3 groups do not divide 4 channels"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(
    cli, protocol: Path, before: str, after: str, said: str
) -> None:
    text = protocol.read_text(encoding="utf-8").replace(before, after)
    protocol.write_text(text, encoding="utf-8")
    found = cli("plan", "swap.toml", "--trust", "--no-estimate")
    assert (found.status, said in found.err) == (2, True), found
    assert "Traceback" not in found.err


def test_a_network_that_raises_fails_alone(cli, protocol: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        _NET.replace("Linear(36 * width", "Linear(35 * width"), encoding="utf-8"
    )
    text = protocol.read_text(encoding="utf-8").replace('"mynet.py:make"', '"broken.py:make"')
    protocol.write_text(text, encoding="utf-8")
    said = cli("run", "swap.toml", "--trust", "--workers", "1")
    assert said.status == 1
    runs = normbench.load("results/swap").runs
    assert set(runs["status"]) == {"failed"}
    assert runs["error"].str.contains("mat1 and mat2 shapes cannot be multiplied").all()


def test_norms_that_no_module_holds_are_warned_about(cli, protocol: Path, tmp_path: Path) -> None:
    net = (
        _NET.replace("nn.Flatten()", "Loose(), nn.Flatten()")
        + """

class Loose(nn.Module):
    def forward(self, x):
        return nn.functional.layer_norm(x, x.shape[1:])
"""
    )
    (tmp_path / "mynet.py").write_text(net, encoding="utf-8")
    warned = "warning: mynet.py:make: layer_norm is called once in the forward pass of 3, outside"
    for command in ("plan", "run"):
        said = cli(command, "swap.toml", "--trust", "--workers", "1")
        assert said.status == 0, said.err
        assert (said.out + said.err).count(warned) == 1
