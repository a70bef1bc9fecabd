"""Results that were there before a command meets bad input."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.refusals import CLAIMED, steady
from tests.support import TINY, made_up


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the tiny study, made up."""
    return made_up(tmp_path_factory.mktemp("made") / "tiny", TINY, steady).folder


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """Those results where the commands expect them."""
    return Path(shutil.copytree(made, tmp_path / "results" / "tiny"))


@pytest.fixture(scope="module")
def made_claimed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the study with claims, made up."""
    return made_up(tmp_path_factory.mktemp("claimed") / "tiny", CLAIMED, steady).folder


@pytest.fixture
def claimed(made_claimed: Path, tmp_path: Path) -> Path:
    """Those results where the commands expect them, with their protocol."""
    (tmp_path / "tiny.toml").write_text(CLAIMED, encoding="utf-8")
    return Path(shutil.copytree(made_claimed, tmp_path / "results" / "tiny"))
