"""Arrays of the user's own in files: what they become, and what is refused with what helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from normbench.catalog import target as targets
from normbench.datasets.arrays import ARRAYS
from normbench.datasets.base import Arrays
from normbench.datasets.split import split_of
from normbench.errors import DataMissingError, UsageError
from tests.builders import cell

N = 12
RNG = np.random.default_rng(0)
CLASSES = np.arange(N) % 3
PICTURES = RNG.integers(0, 256, (N, 3, 6, 5), dtype=np.uint8)


def load(path: Path | str, **params: Any) -> Arrays:
    whole = cell(dataset={"name": "arrays", "path": str(path), **params}).dataset.params
    return ARRAYS.load(whole)


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "my.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("stored", "layout", "wanted"),
    [
        (PICTURES, "auto", PICTURES),
        (PICTURES.transpose(0, 2, 3, 1), "auto", PICTURES),
        (PICTURES.transpose(0, 2, 3, 1), "NHWC", PICTURES),
        (PICTURES[:, 0], "NHW", PICTURES[:, :1]),
        (PICTURES / 255, "NCHW", (PICTURES / 255).astype(np.float32)),
        (PICTURES[:, :, 0, 0], "auto", PICTURES[:, :, :1, :1].astype(np.float32)),
        (PICTURES[:, 0], "NCL", PICTURES[:, 0].astype(np.float32)),
        (PICTURES[:, 0], "NLC", PICTURES[:, 0].transpose(0, 2, 1).astype(np.float32)),
    ],
)
def test_inputs_in_every_layout_become_ours(tmp_path, stored, layout, wanted) -> None:
    found = load(saved(tmp_path, x=stored, y=CLASSES), layout=layout)
    assert found.inputs.dtype == wanted.dtype
    assert found.inputs.tolist() == wanted.tolist()
    assert found.inputs.flags.c_contiguous
    assert (found.classes, found.task, found.given) == (3, "classification", None)
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == CLASSES.tolist()


def test_files_in_every_form_hold_the_same(tmp_path: Path) -> None:
    npz = load(saved(tmp_path, x=PICTURES, y=CLASSES))
    (tmp_path / "folder").mkdir()
    for name, array in (("Images", PICTURES), ("labels", CLASSES), ("other", CLASSES[:2])):
        np.save(tmp_path / "folder" / f"{name}.npy", array)
    folder = load(tmp_path / "folder")
    pair = load(tmp_path / "folder" / "Images.npy", labels=str(tmp_path / "folder" / "labels.npy"))
    assert npz.sha256 == folder.sha256 == pair.sha256
    assert npz.key == folder.key == pair.key


def test_paths_are_beside_the_protocol_or_in_the_current_folder(tmp_path, monkeypatch) -> None:
    beside, here = tmp_path / "beside", tmp_path / "here"
    for folder in (beside, here):
        folder.mkdir()
    saved(here, x=PICTURES, y=CLASSES)
    monkeypatch.chdir(here)
    monkeypatch.setattr(targets, "_root", str(beside))
    assert load("my.npz").labels.tolist() == CLASSES.tolist()
    saved(beside, x=PICTURES, y=CLASSES[::-1])
    assert load("my.npz").labels.tolist() == CLASSES[::-1].tolist()


def test_texts_and_numbers_are_labels(tmp_path: Path) -> None:
    names = np.array(["dog", "cat"] * 6)
    found = load(saved(tmp_path, x=PICTURES, y=names))
    assert (found.classes, found.labels.tolist()) == (2, [1, 0] * 6)
    prices = RNG.normal(size=N)
    found = load(saved(tmp_path, x=PICTURES, y=prices[:, None]), tolerance=0.25)
    assert (found.task, found.classes, found.tolerance) == ("regression", 1, 0.25)
    assert found.standardized
    assert found.labels.tolist() == prices.astype(np.float32).tolist()
    ages = load(saved(tmp_path, x=PICTURES, y=np.arange(N)), task="regression")
    assert (ages.task, ages.labels.dtype) == ("regression", np.float32)
    whole = load(saved(tmp_path, x=PICTURES, y=CLASSES.astype(float)), task="classification")
    assert (whole.classes, whole.labels.tolist()) == (3, CLASSES.tolist())


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test"),
        ("train_images", "train_labels", "val_images", "val_labels", "test_images", "test_labels"),
    ],
)
def test_given_parts_are_kept_and_the_others_divided(tmp_path, names) -> None:
    parts = (PICTURES, CLASSES, PICTURES[:3], CLASSES[:3], PICTURES[:6], CLASSES[:6])
    every = dict(zip(names, parts, strict=True))
    whole = split_of(load(saved(tmp_path, **every)), 0, 0.25, 0.25)
    assert [len(p) for p in (whole.train, whole.validation, whole.test)] == [N, 3, 6]
    assert sorted(whole.validation) == [12, 13, 14]
    assert sorted(whole.test) == [15, 16, 17, 18, 19, 20]
    without = {k: v for k, v in every.items() if "val" not in k}
    found = split_of(load(saved(tmp_path, **without)), 0, 0.25, 0.25)
    assert [len(p) for p in (found.train, found.validation, found.test)] == [9, 3, 6]
    assert sorted(found.test) == [12, 13, 14, 15, 16, 17]
    assert sorted([*found.train, *found.validation]) == list(range(N))
    assert load(saved(tmp_path, **without)).key != load(saved(tmp_path, **every)).key


def test_which_part_items_are_given_for_is_content(tmp_path: Path) -> None:
    two = {"x_train": PICTURES, "y_train": CLASSES}
    test = load(saved(tmp_path, **two, x_test=PICTURES, y_test=CLASSES))
    validation = load(saved(tmp_path, **two, x_val=PICTURES, y_val=CLASSES))
    assert test.inputs.tolist() == validation.inputs.tolist()
    assert test.sha256 != validation.sha256


NAN = np.where(np.arange(N)[:, None] == 4, np.nan, 1.0) * np.ones((N, 2))


@pytest.mark.parametrize(
    ("arrays", "params", "said"),
    [
        ({"x": np.array([{}] * N), "y": CLASSES}, {}, "Python objects.* never loaded"),
        ({"x": PICTURES, "y": np.array([None] * N)}, {}, "Python objects.* never loaded"),
        ({"x": PICTURES, "y": CLASSES[:-1]}, {}, "12 inputs and 11 labels"),
        ({"x": PICTURES}, {}, "it has x; expected x and y"),
        ({"a": PICTURES, "b": CLASSES}, {}, "it has a, b; expected x and y"),
        ({"x": PICTURES, "X": PICTURES, "y": CLASSES}, {}, "x and X, which mean the same"),
        ({"x_test": PICTURES, "y_test": CLASSES}, {}, "expected x and y, or x_train"),
        ({"x": PICTURES, "y": CLASSES, "x_test": PICTURES, "y_test": CLASSES}, {}, "x_train"),
        ({"x": NAN, "y": CLASSES}, {}, "my.npz: inputs .* finite numbers; received 2 values"),
        ({"x": np.full((N, 2), 1e300), "y": CLASSES}, {}, "finite numbers; received 24 values"),
        ({"x": PICTURES, "y": NAN[:, 0]}, {}, "labels of a data set are finite"),
        ({"x": PICTURES, "y": NAN[:, 0]}, {"task": "classification"}, "whole numbers or texts"),
        ({"x": PICTURES, "y": CLASSES - 1}, {}, "0 to 2; my.npz has -1 to 1.*leave those out"),
        ({"x": PICTURES, "y": CLASSES + 1}, {}, "has 1 to 3; likely fix: subtract their smallest"),
        ({"x": PICTURES, "y": 2 * CLASSES}, {}, "0 to 4, without 1, 3; .* number the classes"),
        ({"x": PICTURES, "y": np.arange(N)}, {}, "12 different labels of 12 items"),
        ({"x": PICTURES, "y": np.minimum(np.arange(N), 1)}, {}, "at least 2 items; .* one of 0"),
        ({"x": PICTURES, "y": np.zeros(N, int)}, {}, "at least 2 classes; .* are 0"),
        ({"x": PICTURES, "y": np.ones(N)}, {}, "labels of a regression differ; all 12"),
        ({"x": PICTURES, "y": np.eye(N)[:, :3]}, {}, r"\(12, 3\); likely fix: .*argmax"),
        ({"x": PICTURES, "y": np.array(["a"] * N)}, {"task": "regression"}, "has texts"),
        ({"x": PICTURES[:, 0], "y": CLASSES}, {}, "not evident; .* NHW, NCL, NLC"),
        ({"x": PICTURES[:, :, :3], "y": CLASSES}, {"layout": "NHW"}, "NHW has 3 dimensions"),
        ({"x": PICTURES.astype(complex), "y": CLASSES}, {}, "inputs are numbers; .* complex"),
        ({"x": PICTURES[:, :, :0], "y": CLASSES}, {}, "no dimension of 0"),
        ({"x": PICTURES[0, 0, 0], "y": CLASSES}, {}, "2 dimensions"),
        (
            {"x_train": PICTURES, "y_train": CLASSES,
             "x_test": PICTURES[:, :, :5], "y_test": CLASSES},
            {},
            "inputs of all parts have one shape",
        ),
        (
            {"x_train": PICTURES, "y_train": CLASSES, "x_test": PICTURES, "y_test": CLASSES + 0.5},
            {},
            "one kind; my.npz has real numbers and whole numbers",
        ),
    ],
)  # fmt: skip
def test_what_training_would_misread_is_refused(tmp_path, arrays, params, said) -> None:
    with pytest.raises(UsageError, match=f"(?s){said}"):
        load(saved(tmp_path, **arrays), **params)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match="no path is given"):
        load("")
    with pytest.raises(DataMissingError, match=r"no .*absent\.npz; .* beside the protocol"):
        load(tmp_path / "absent.npz")
    for name, content in (("a.npz", b"PK no zip"), ("b.npy", b"\x93NUMPY\x01"), ("c.npz", b"")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UsageError, match=f"{name} cannot be read"):
            load(path, labels=str(path) if name == "b.npy" else "")
    whole = saved(tmp_path, x=PICTURES, y=CLASSES)
    damaged = bytearray(whole.read_bytes())
    damaged[300] ^= 1
    whole.write_bytes(damaged)
    with pytest.raises(UsageError, match=r"my\.npz cannot be read .*CRC"):
        load(whole)
    text = tmp_path / "table.csv"
    text.write_text("1,2\n")
    with pytest.raises(UsageError, match=r"received table\.csv; likely fix: numpy\.savez"):
        load(text)
    np.save(tmp_path / "x.npy", PICTURES)
    with pytest.raises(UsageError, match="likely fix: name the file of their labels"):
        load(tmp_path / "x.npy")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    with pytest.raises(UsageError, match="never loaded"):
        load(tmp_path / "objects.npy", labels=str(tmp_path / "x.npy"))
