"""A trained network with batch norm, and where its trouble lies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from normbench.catalog import DATASETS
from normbench.cli.diagnose import sentences
from normbench.errors import UsageError
from normbench.protocol.load import load_text
from normbench.protocol.template import Trained, diagnosis_text
from normbench.workflow.diagnosing import Diagnosis, _compared, diagnose
from tests.packages import command

NET = """
from torch import nn

def make(num_classes, momentum=0.1):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32, momentum=momentum), nn.ReLU(),
        nn.Linear(32, 32), nn.BatchNorm1d(32, momentum=momentum), nn.ReLU(),
        nn.Linear(32, num_classes),
    )

def plain(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


def made(momentum: float = 0.1) -> nn.Module:
    space: dict[str, object] = {}
    exec(NET, space)
    return space["make"](10, momentum)  # type: ignore[operator,no-any-return]


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    arrays = DATASETS["digits"].load().load({"items": 1797})
    inputs = torch.from_numpy(arrays.inputs.astype(np.float32))
    return inputs, torch.from_numpy(arrays.labels).long()


def trained(digits: tuple[Tensor, Tensor], batch: int, steps: int, momentum: float) -> nn.Module:
    """Torch's own network and training: nothing of ours has touched it."""
    x, y = digits
    torch.manual_seed(0)
    net = made(momentum)
    optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9)
    x = (x - x.mean()) / x.std()
    for _ in range(steps):
        pick = torch.randint(0, len(x), (batch,))
        optimizer.zero_grad()
        functional.cross_entropy(net(x[pick]), y[pick]).backward()
        optimizer.step()
    return net


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mynet.py").write_text(NET)
    return tmp_path


def found(
    net: nn.Module, here: Path, sizes: tuple[int, ...] = (32,), of: str = "make"
) -> Diagnosis:
    torch.save(net.state_dict(), here / "net.pt")
    text = diagnosis_text(Trained(f"mynet.py:{of}", {}, "net.pt", "digits", sizes), here)
    study = load_text(text, here / "d.toml", ["defaults.input_norm=global"], None)
    return diagnose(study, orders=3)[0]


def test_a_sound_network_shows_nothing(digits: tuple[Tensor, Tensor], here: Path) -> None:
    result = found(trained(digits, 64, 300, 0.1), here)
    assert result.running.error < 0.1
    assert result.problems == ("none shown",)
    assert "Neither is shown" in sentences(result)[0]
    assert [layer.layer for layer in result.layers] == ["2", "5"]
    # a mean of 32 independent values spreads by about 1/√32 of their deviation
    assert result.layers[0].noise[32] == pytest.approx(32**-0.5, rel=0.25)


def test_stale_running_statistics_are_a_problem_of_evaluation(
    digits: tuple[Tensor, Tensor], here: Path
) -> None:
    # so small a momentum leaves the running statistics near 0 and 1
    result = found(trained(digits, 64, 300, 0.001), here)
    assert result.problems == ("evaluation",)
    assert result.sizes[0].recomputed.error < result.running.error - 0.05
    assert result.layers[0].ratio_largest > 2
    assert "Recalibrate" in sentences(result)[0]


def test_noise_in_small_batches_is_a_problem_of_training(
    digits: tuple[Tensor, Tensor], here: Path
) -> None:
    result = found(trained(digits, 64, 300, 0.1), here, sizes=(2, 64))
    small, large = result.sizes
    assert small.batch.error > large.batch.error + 0.05
    assert result.problems == ("noise",)
    assert result.layers[0].noise[2] == pytest.approx(2**-0.5, rel=0.25)
    assert sentences(result)[0].startswith("Training is a problem at batch size 2:")


def test_a_network_without_batch_norm_has_nothing_to_diagnose(here: Path) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(UsageError, match="has no batch norm"):
        found(net, here, of="plain")


def test_nothing_is_concluded_of_a_network_at_chance(here: Path) -> None:
    torch.manual_seed(0)
    result = found(made(), here)
    assert result.problems == ()
    assert "Nothing is concluded" in sentences(result)[0]


def test_equal_evaluations_are_rarely_told_apart() -> None:
    # items wrong in one of two evaluations, by chance: a false alarm in at most 5 % of studies
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(40):
        a, b = rng.random((2, 60)) < 0.3
        alarms += _compared(8, a.astype(float) - b, 0.05).decided != 0
    assert alarms <= 6  # of 40 at .05, more than that in 0.5 % of cases


def test_the_command_tells_saves_and_explains(digits: tuple[Tensor, Tensor], here: Path) -> None:
    net = trained(digits, 64, 300, 0.001)
    torch.save(net.state_dict(), here / "net.pt")
    options = ("diagnose", "--model", "mynet.py:make", "--weights", "net.pt", "--data", "digits",
               "--set", "defaults.input_norm=global", "--batch-sizes", "8,64")  # fmt: skip
    told = command(here, *options, "--save", "new.safetensors")
    assert told.returncode == 0, told.stderr
    assert "Evaluation is a problem" in told.stdout
    # what was saved is mended, and loads into the user's own network
    again = command(here, *options[:4], "new.safetensors", *options[5:9], "--json")
    assert json.loads(again.stdout)["problems"] == ["none shown"]
    from safetensors.torch import load_file

    net.load_state_dict(load_file(here / "new.safetensors"))
    wrong = command(here, *options[:-1], "0")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr
