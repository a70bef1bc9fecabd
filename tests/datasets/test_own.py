"""What a function of the user's own gives becomes a data set, in each form that it may have."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from normbench.catalog import target as targets
from normbench.datasets.base import Arrays
from normbench.datasets.own import OWN
from normbench.errors import ComponentError, UsageError
from tests.builders import cell

CODE = '''
import random
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, TensorDataset

X, Y = np.arange(8 * 3 * 6 * 5).astype(np.uint8).reshape(8, 3, 6, 5), np.arange(8) % 2

def dictionary():
    return {"x": torch.tensor(X), "y": torch.tensor(Y)}

def pair(n=8):
    return X[:n], list(Y)[:n]

def lists():
    return X.tolist(), Y.tolist()

def parts():
    return (X, Y), (X[:2], Y[:2])

def three():
    return (X, Y), (X[:3], Y[:3]), (X[:2], Y[:2])

class Photos(Dataset):
    """Pictures of Pillow."""
    def __init__(self, n=8):
        self.n = n
    def __len__(self):
        return self.n
    def __getitem__(self, i):
        return Image.fromarray(X[i].transpose(1, 2, 0)), int(Y[i])

class Rows(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, i):
        return {"image": X[i], "label": Y[i]}

def split_sets():
    return Photos(), Photos(4)

def tensors():
    return TensorDataset(torch.tensor(X).bfloat16(), torch.tensor(Y))

def drawn():
    x = np.random.rand(8, 2) + random.random()
    return x + torch.rand(8, 2).numpy(), Y

def nothing():
    return 5

def four():
    return X, Y, X, Y

def ragged():
    return [[1, 2], [3]], [0, 1]

class Uneven(Photos):
    def __getitem__(self, i):
        return X[i, :, :i + 1], 0

class Three(Photos):
    def __getitem__(self, i):
        return X[i], Y[i], i

def raising():
    raise KeyError("mine")

class Failing(Photos):
    def __getitem__(self, i):
        raise KeyError("item")
'''


@pytest.fixture(autouse=True)
def _beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "mydata.py").write_text(CODE)
    path = list(sys.path)
    monkeypatch.setattr(targets, "_root", str(tmp_path))
    yield
    sys.path[:] = path
    targets._loaded.clear()


def load(name: str, **params: Any) -> Arrays:
    chosen = cell(dataset={"name": "own", "target": f"mydata.py:{name}", **params}).dataset
    return OWN.load(chosen.params)


@pytest.mark.parametrize("form", ["dictionary", "pair", "Photos", "Rows"])
def test_every_form_gives_the_same_pictures(form: str) -> None:
    found, wanted = load(form), load("pair")
    assert found.inputs.shape == (8, 3, 6, 5)
    assert found.inputs.dtype == np.uint8
    assert found.sha256 == wanted.sha256
    assert found.key == wanted.key
    assert (found.classes, found.given) == (2, None)


def test_other_types_are_float32() -> None:
    assert load("tensors").inputs.dtype == np.float32
    assert load("lists", layout="NCHW").inputs.tolist() == load("pair").inputs.tolist()


def test_parts_are_told_apart() -> None:
    two, three, sets = load("parts"), load("three"), load("split_sets")
    assert two.given is not None
    assert three.given is not None
    assert sets.given is not None
    assert two.given.tolist() == [0] * 8 + [2] * 2
    assert three.given.tolist() == [0] * 8 + [1] * 3 + [2] * 2
    assert sets.given.tolist() == [0] * 8 + [2] * 4


def test_arguments_reach_the_target() -> None:
    assert len(load("pair", args={"n": 6}).inputs) == 6


def test_what_is_drawn_is_the_same_every_time_and_moves_no_generator() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    first = load("drawn").sha256
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]
    np.random.rand()
    random.random()
    torch.rand(1)
    assert load("drawn").sha256 == first


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("nothing", "it gives a dictionary of arrays .* it gave int"),
        ("four", "it gave a tuple of 4"),
        ("ragged", "which is no array of numbers"),
        ("Uneven", r"one shape; .* \(3, 1, 5\), .* likely fix: resize"),
        ("Three", "item 0 of mydata.py:Three is 3 values"),
    ],
)
def test_other_forms_are_refused(form: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){said}"):
        load(form)


@pytest.mark.parametrize(("form", "said"), [("raising", "KeyError.*mine"), ("Failing", "item")])
def test_what_it_raises_is_told_with_its_place(form: str, said: str) -> None:
    with pytest.raises(ComponentError, match=said) as caught:
        load(form)
    assert "mydata.py" in str(caught.value)
