"""Data sets of torchvision, from small files in its own formats."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from torchvision import datasets

from normbench.catalog import DATASETS
from normbench.datasets.base import Arrays
from normbench.datasets.split import split_of
from normbench.errors import DataMissingError, UsageError, WorkError
from tests.builders import cell
from tests.datasets.conftest import picture

RNG = np.random.default_rng(0)
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PICTURES = RNG.integers(0, 256, (40, 3, 32, 32), dtype=np.uint8)
LABELS = np.arange(40) % 10


def load(name: str, folder: Path, **params: Any) -> Arrays:
    full = f"torchvision:{name}"
    chosen = cell(dataset={"name": full, "path": str(folder), **params}).dataset
    return DATASETS[full].load().load(chosen.params)


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty training pictures in two batches, and ten test pictures."""
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()

    def write(name: str, content: Any) -> str:
        found = pickle.dumps(content)
        (base / name).write_bytes(found)
        return hashlib.md5(found).hexdigest()

    def batch(name: str, part: slice) -> list[str]:
        rows = PICTURES[part].reshape(-1, 3 * 32 * 32)
        return [name, write(name, {"data": rows, "labels": LABELS[part].tolist()})]

    train = [batch("data_batch_1", slice(0, 20)), batch("data_batch_2", slice(20, 30))]
    meta = write("batches.meta", {"label_names": NAMES})
    monkeypatch.setattr(datasets.CIFAR10, "train_list", train)
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [batch("test_batch", slice(30, 40))])
    monkeypatch.setitem(datasets.CIFAR10.meta, "md5", meta)
    return tmp_path


def test_cifar_keeps_its_parts(cifar: Path) -> None:
    found = load("CIFAR10", cifar)
    assert found.inputs.tolist() == PICTURES.tolist()
    assert found.inputs.dtype == np.uint8
    assert found.labels.tolist() == LABELS.tolist()
    assert found.classes == 10
    split = split_of(found, 0, 1 / 3, 0.5)
    assert sorted(split.test) == list(range(30, 40))
    assert (len(split.train), len(split.validation)) == (20, 10)


def test_classes_are_chosen_and_numbered_in_their_order(cifar: Path) -> None:
    found = load("CIFAR10", cifar, classes=["dog", "Cat"])
    chosen = np.flatnonzero(np.isin(LABELS, [3, 5]))
    assert found.inputs.tolist() == PICTURES[chosen].tolist()
    assert found.labels.tolist() == [{5: 0, 3: 1}[n] for n in LABELS[chosen]]
    assert found.classes == 2
    assert found.given is not None
    assert found.given.tolist() == [0] * 6 + [2] * 2
    assert found.key != load("CIFAR10", cifar).key
    label = cell(dataset={"name": "torchvision:CIFAR10", "classes": ["cat", "dog"]}).dataset.label
    assert label == "torchvision:CIFAR10(classes=cat+dog)"


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (["cat", "dgo"], "no class 'dgo'; did you mean 'dog'"),
        (["cat"], "at least two"),
        (["cat", "cat"], "each once"),
    ],
)
def test_other_classes_are_refused(cifar: Path, classes: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load("CIFAR10", cifar, classes=classes)


def test_damaged_files_are_told(cifar: Path) -> None:
    path = cifar / "cifar-10-batches-py" / "data_batch_2"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DataMissingError, match=r"damaged .*likely fix: normbench data fetch"):
        load("CIFAR10", cifar)


@pytest.mark.parametrize("name", ["CIFAR10", "MNIST", "FashionMNIST", "SVHN", "OxfordIIITPet"])
def test_missing_files_say_how_to_get_them(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataMissingError, match=f"normbench data fetch torchvision:{name}"):
        load(name, tmp_path)


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_idx_files(name: str, tmp_path: Path) -> None:
    raw = tmp_path / name / "raw"
    raw.mkdir(parents=True)
    grey = RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8)
    for part, chosen in (("train", slice(0, 30)), ("t10k", slice(30, 40))):
        images, labels = grey[chosen], LABELS[chosen].astype(np.uint8)
        head = struct.pack(">IIII", 2051, len(images), 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = struct.pack(">II", 2049, len(labels))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
    found = load(name, tmp_path)
    assert found.inputs.tolist() == grey[:, None].tolist()
    assert found.labels.tolist() == LABELS.tolist()
    assert found.given is not None
    assert found.given.tolist() == [0] * 30 + [2] * 10


def test_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = {}
    for part, chosen in (("train", slice(0, 30)), ("test", slice(30, 40))):
        name = f"{part}_32x32.mat"
        digits = np.where(LABELS[chosen] == 0, 10, LABELS[chosen])[:, None]
        scipy.io.savemat(
            tmp_path / name, {"X": PICTURES[chosen].transpose(2, 3, 1, 0), "y": digits}
        )
        digest = hashlib.md5((tmp_path / name).read_bytes()).hexdigest()
        lists[part] = ["http://127.0.0.1:1/", name, digest]
    monkeypatch.setattr(datasets.SVHN, "split_list", lists)
    found = load("SVHN", tmp_path, classes=["0", "1"])
    chosen_ = np.flatnonzero(LABELS < 2)
    assert found.inputs.tolist() == PICTURES[chosen_].tolist()
    assert found.labels.tolist() == LABELS[chosen_].tolist()


@pytest.fixture
def pets(tmp_path: Path) -> Iterator[Path]:
    """Three breeds, of which one is a cat's, and one photo that is none."""
    base = tmp_path / "oxford-iiit-pet"
    (base / "images").mkdir(parents=True)
    (base / "annotations").mkdir()
    breeds = [("Abyssinian", 1, 1), ("american_bulldog", 2, 2), ("beagle", 3, 2)]
    for part, numbers in (("trainval", range(4)), ("test", range(4, 6))):
        lines = ["#Image CLASS-ID SPECIES BREED ID"]
        for number in numbers:
            for name, breed, kind in breeds:
                picture(10 * breed + number).save(base / "images" / f"{name}_{number}.jpg")
                lines.append(f"{name}_{number} {breed} {kind} 1")
        (base / "annotations" / f"{part}.txt").write_text("\n".join(lines) + "\n")
    (base / "images" / "beagle_0.jpg").write_bytes(b"no picture")
    return tmp_path


def test_pets_by_breed_and_as_cats_and_dogs(pets: Path) -> None:
    breeds = load("OxfordIIITPet", pets, resolution=32)
    assert breeds.inputs.shape == (17, 3, 32, 32)
    assert breeds.classes == 3
    assert breeds.given is not None
    assert np.bincount(breeds.given).tolist() == [11, 0, 6]
    assert np.bincount(breeds.labels).tolist() == [6, 6, 5]
    kinds = load("OxfordIIITPet", pets, resolution=32, classes=["cat", "dog"])
    assert kinds.inputs.tolist() == breeds.inputs.tolist()
    assert np.bincount(kinds.labels).tolist() == [6, 11]
    two = load("OxfordIIITPet", pets, resolution=32, classes=["Beagle", "american bulldog"])
    assert np.bincount(two.labels).tolist() == [5, 6]
    (pets / "oxford-iiit-pet" / "annotations" / "test.txt").write_text("what\n")
    with pytest.raises(DataMissingError, match=r"test\.txt is damaged"):
        load("OxfordIIITPet", pets, resolution=32)


def test_what_torchvision_cannot_fetch_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:1/"])
    with pytest.raises(WorkError, match="torchvision:MNIST cannot be fetched"):
        DATASETS["torchvision:MNIST"].load().fetch(tmp_path)


def test_torchvision_fetches_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are there, with the right digests, are not fetched again, and unpacked."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    resources = []
    for part in ("train", "t10k"):
        for kind, size, shape in (
            ("images-idx3", 2051, (30, 28, 28)),
            ("labels-idx1", 2049, (30,)),
        ):
            values = np.arange(int(np.prod(shape))) % 10
            content = struct.pack(f">{'I' * (1 + len(shape))}", size, *shape)
            packed = gzip.compress(content + values.astype(np.uint8).tobytes())
            name = f"{part}-{kind}-ubyte.gz"
            (raw / name).write_bytes(packed)
            resources.append((name, hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    assert DATASETS["torchvision:MNIST"].load().fetch(tmp_path) == tmp_path
    assert load("MNIST", tmp_path).inputs.shape == (60, 1, 28, 28)
