"""Folders of older versions: read as they are, and told what their identity did not cover."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from normbench.results.load import load
from normbench.results.migrate import migrated
from normbench.results.store import Store
from tests.support import TINY, Watcher, sweep


def rewrite(folder: Path, **changes: Any) -> None:
    """Make a folder's ``protocol.json`` one of another version, as that version wrote it."""
    path = folder / "protocol.json"
    content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    kept = {k: v for k, v in content.items() if k != "checksum" and v is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


@pytest.mark.parametrize("version", [1, 2])
def test_older_results_are_read_say_so_and_are_not_trained_again(
    tmp_path: Path, version: int
) -> None:
    sweep(TINY, tmp_path)
    today = load(tmp_path)
    assert (today.older, today.code) == ("", {})
    rewrite(tmp_path, schema_version=version, code=None)
    before = (tmp_path / "protocol.json").read_bytes()
    found = load(tmp_path)
    assert found.study == today.study
    assert found.code == {}
    assert f"schema version {version}" in found.older
    assert found.unrecorded == found.absent == []
    assert (tmp_path / "protocol.json").read_bytes() == before
    seen = Watcher()
    sweep(TINY, tmp_path, observer=seen)
    assert seen.total == 0
    assert load(tmp_path).older == ""


def test_a_component_whose_code_was_not_recorded_is_named(tmp_path: Path) -> None:
    sweep(TINY, tmp_path)
    study = Store(tmp_path).read_document().study
    text = json.dumps(study).replace('"name": "layer"', '"name": "gone"')
    rewrite(tmp_path, schema_version=2, code=None, study=json.loads(text))
    found = load(tmp_path)
    assert any("code of the norm gone ran was not recorded" in text for text in found.unrecorded)
    assert any("the norm gone is not installed here" in text for text in found.absent)
    (labels,) = {tuple(c.norm.name for c in e.cells) for e in found.study.experiments}
    assert set(labels) == {"batch", "gone"}


def test_a_version_that_records_code_must_have_it() -> None:
    with pytest.raises(KeyError):
        migrated({"study": {}}, 3)


def test_a_cell_of_what_is_not_installed_is_written_as_it_was_stored(tmp_path: Path) -> None:
    sweep(TINY, tmp_path)
    study = Store(tmp_path).read_document().study
    gone = json.loads(json.dumps(study).replace('"name": "layer"', '"name": "gone"'))
    rewrite(tmp_path, study=gone)
    assert load(tmp_path).study.model_dump(mode="json") == gone  # and no warning, which is an error
