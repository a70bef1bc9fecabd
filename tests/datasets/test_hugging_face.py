"""Data sets of the hub: a commit is required, and what its package gives becomes arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from normbench.datasets import hugging_face
from normbench.datasets.base import Arrays
from normbench.datasets.hugging_face import HUB
from normbench.errors import DataMissingError, ProtocolError, UsageError
from tests.builders import cell
from tests.datasets.conftest import picture

COMMIT = "0123456789abcdef" * 2 + "01234567"
SOURCE = f"someone/some-thing@{COMMIT}"


def load(source: str = SOURCE, **params: Any) -> Arrays:
    return HUB.load(cell(dataset={"name": f"hf:{source}", **params}).dataset.params)


def test_a_source_may_be_written_short_and_spelled_out() -> None:
    short = cell(dataset=f"hf:{SOURCE}").dataset
    assert short == cell(dataset={"name": "hf", "source": SOURCE}).dataset
    assert short.params["source"] == SOURCE
    assert cell(dataset={"name": f"hf:{SOURCE}", "config": "b"}).dataset.params["config"] == "b"


@pytest.mark.parametrize(
    "source",
    ["someone/thing", "someone/thing@main", f"thing@{COMMIT}", f"someone/thing@{COMMIT[:12]}",
     f"../thing/x@{COMMIT}"],
)  # fmt: skip
def test_without_a_commit_it_is_refused(source: str) -> None:
    with pytest.raises(ProtocolError, match="with all 40 digits of the commit"):
        cell(dataset=f"hf:{source}")


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hugging_face, "find_spec", lambda name: None)
    with pytest.raises(DataMissingError, match=r"pip install 'normbench\[hf\]'"):
        load()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the package is asked for; it answers with files of this machine."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    package = pytest.importorskip("datasets", reason="the package datasets is not installed")
    state: dict[str, Any] = {"asked": []}

    def load_dataset(*given: Any, **named: Any) -> Any:
        state["asked"].append((given, named))
        return package.DatasetDict(state["splits"])

    state["make"] = package.Dataset.from_dict
    state["image"] = package.Image
    state["labels"] = package.ClassLabel
    state["features"] = package.Features
    monkeypatch.setattr(package, "load_dataset", load_dataset)
    return state


def test_pictures_and_classes_become_arrays(hub: dict[str, Any]) -> None:
    features = hub["features"]({"image": hub["image"](), "label": hub["labels"](names=["a", "b"])})

    def split(count: int) -> Any:
        photos = [picture(i, (12, 10)) for i in range(count)]
        whole = {"image": photos, "label": [i % 2 for i in range(count)]}
        return hub["make"](whole, features=features)

    hub["splits"] = {"train": split(8), "test": split(4), "unsupervised": split(2)}
    found = load(config="small")
    assert hub["asked"] == [(("someone/some-thing", "small"), {"revision": COMMIT})]
    assert found.inputs.shape == (12, 3, 10, 12)
    assert found.inputs.dtype == np.uint8
    wanted = np.asarray(picture(3, (12, 10))).transpose(2, 0, 1)
    assert found.inputs[3].tolist() == wanted.tolist()
    assert found.labels.tolist() == [0, 1] * 6
    assert found.given is not None
    assert found.given.tolist() == [0] * 8 + [2] * 4


def test_one_split_is_divided_and_others_are_refused(hub: dict[str, Any]) -> None:
    rows = {"features": [[1.0, 2.0]] * 8, "target": [0.5 * i for i in range(8)]}
    hub["splits"] = {"train": hub["make"](rows)}
    found = load()
    assert (found.task, found.given, found.inputs.shape) == ("regression", None, (8, 2, 1, 1))
    hub["splits"] = {"test": hub["make"](rows)}
    with pytest.raises(UsageError, match="has no split train; it has test"):
        load()
    hub["splits"] = {"train": hub["make"]({"text": ["a"] * 8, "label": [0, 1] * 4})}
    with pytest.raises(UsageError, match="expected x and y"):
        load()


def test_what_the_hub_does_not_give_is_told(hub: dict[str, Any], monkeypatch) -> None:
    import datasets

    def gone(*given: Any, **named: Any) -> Any:
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(datasets, "load_dataset", gone)
    with pytest.raises(DataMissingError, match="cannot be got: ConnectionError: nobody answers"):
        load()
