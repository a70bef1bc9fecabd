"""``normbench init``: a commented protocol that is valid as it is written, and runs nothing."""

from __future__ import annotations

import sys
import tomllib

import numpy as np
import pytest
from PIL import Image

from normbench.catalog import target as targets
from normbench.protocol.load import load_protocol

NET = """
open({ran!r}, "w").close()
from torch import nn
from mynorm import Mine

def make_model(num_classes, in_channels=3):
    return nn.Sequential(
        nn.Conv2d(in_channels, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    )

class Plain(nn.Module):
    def __init__(self, *, n_classes):
        super().__init__()

def bare():
    return make_model(2)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path / "cache"))
    path = list(sys.path)
    (tmp_path / "mynet.py").write_text(NET.format(ran=str(tmp_path / "ran")))
    (tmp_path / "mynorm.py").write_text(
        "from torch import nn\nclass Mine(nn.GroupNorm):\n    def __init__(self, channels):\n"
        "        super().__init__(1, channels)\n"
    )
    draw = np.random.default_rng(0)
    for kind in ("a", "b"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(6):
            pixels = draw.integers(0, 255, (40, 40, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "photos" / kind / f"{i}.png")
    yield tmp_path
    sys.path[:] = path
    targets._loaded.clear()
    targets.use_root("")
    sys.modules.pop("mynorm", None)


def written(path):
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_a_network_and_a_folder_of_pictures_give_a_protocol_that_can_be_planned(cli, folder):
    said = cli(
        "init", "--model", "mynet.py:make_model", "--data", "photos/", "--norms", "keep,group",
        "--batch-sizes", "2,4", "-o", "mynet.toml",
    )  # fmt: skip
    assert (said.status, said.err) == (0, "")
    assert not (folder / "ran").exists()
    text = (folder / "mynet.toml").read_text()
    assert text.count("#") > 10
    found = written(folder / "mynet.toml")
    assert found["defaults"]["model"] == {
        "name": "torch", "target": "mynet.py:make_model",
        "args": {"num_classes": "$classes", "in_channels": "$in_channels"},
    }  # fmt: skip
    assert found["defaults"]["dataset"]["path"] == "photos"
    assert found["experiment"][0]["product"] == {"batch_size": [2, 4], "norm": ["keep", "group"]}
    said = cli("plan", "mynet.toml", "--trust", "--no-estimate", "--workers", "1")
    assert said.status == 0, said.err
    assert "16 cells" in said.out  # of each of four the grid of three rates, and itself


def test_paths_are_relative_to_where_the_protocol_will_lie(cli, folder):
    (folder / "studies").mkdir()
    np.savez(folder / "my.npz", x=np.zeros((8, 3)), y=np.arange(8) % 2)
    said = cli(
        "init", "--model", "mlp", "--data", "my.npz", "--norms", "batch,mynorm.py:Mine",
        "--output", "studies/one.toml",
    )  # fmt: skip
    assert said.status == 0, said.err
    found = written(folder / "studies/one.toml")
    assert found["defaults"]["dataset"] == {"name": "arrays", "path": "../my.npz"}
    norm = found["experiment"][0]["product"]["norm"][1]
    assert norm == {"name": "own", "target": "../mynorm.py:Mine"}
    study = load_protocol("studies/one.toml")
    assert len(study.experiments[0].cells) == 6


@pytest.mark.parametrize(
    ("model", "args"),
    [
        ("mynet.py:Plain", {"n_classes": "$classes"}),
        ("mynet.py:bare", None),
        ("torchvision.models:resnet18", {"num_classes": "$classes"}),
    ],
)
def test_what_a_network_is_called_with_is_read_from_its_source(cli, folder, model, args):
    said = cli("init", "--model", model, "--data", "photos", "-o", "m.toml")
    assert said.status == 0, said.err
    assert written(folder / "m.toml")["defaults"]["model"].get("args") == args
    assert not (folder / "ran").exists()


def test_nothing_is_written_over_unasked(cli, folder):
    (folder / "mlp.toml").write_text("mine")
    said = cli("init", "--model", "mlp", "--data", "digits")
    assert (said.status, said.out) == (2, "")
    assert "mlp.toml is there already" in said.err
    assert (folder / "mlp.toml").read_text() == "mine"
    said = cli("init", "--model", "mlp", "--data", "digits", "--force")
    assert said.status == 0
    assert cli("plan", "mlp.toml", "--no-estimate").status == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--model": "mynet.py:gone"}, "defines no gone; it has make_model"),
        ({"--model": "none.py:gone"}, "there is no file none.py"),
        ({"--model": "mlpp"}, "did you mean 'mlp'"),
        ({"--model": "subprocess:run"}, "none of Python's own modules"),
        ({"--data": "nowhere/"}, "there is no 'nowhere/'"),
        ({"--data": "gone.npz"}, "there is no file gone.npz"),
        ({"--norms": "batch,lyer"}, "did you mean 'layer'"),
        ({"--norms": "batch,,layer"}, "with commas between them"),
        ({"--norms": "batch,batch"}, "listed more than once"),
        ({"--batch-sizes": "2,x"}, "whole numbers from 1 on"),
        ({"--batch-sizes": "0"}, "whole numbers from 1 on"),
        ({"-o": "there/is/none.toml"}, "no folder there/is"),
        ({"-o": "notes.txt"}, "ends in .toml"),
    ],
)
def test_what_cannot_be_a_protocol_ends_with_2_and_writes_nothing(cli, folder, change, said):
    before = sorted(folder.iterdir())
    options = {"--model": "mlp", "--data": "digits", "--norms": "batch,layer", **change}
    ended = cli("init", *(word for pair in options.items() for word in pair))
    assert (ended.status, said in ended.err) == (2, True), ended.err
    assert sorted(folder.iterdir()) == before
