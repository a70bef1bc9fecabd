"""Names of studies as written, and the folders that are called after them."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normbench.errors import ProtocolError
from normbench.protocol.load import bundled_protocols, load_protocol, parse
from normbench.protocol.names import folder_name, spelled, study_name
from tests.builders import document, study

ODD = [
    "实验一", "实验二", "My Study", "my-study", "My-Study", "my study", "MY-STUDY", "..", ".",
    "con", "CON", "a/b", "a-b", "a\\b", "ß", "ss", "é", "É", "ı", "i", "I", "ﬁ", "fi", "-", "--",
    "_", "study", "x" * 255, "x" * 254, "实" * 255, "实" * 254, "v1.2", "v1-2", "a:b", "nul", "~",
    "$HOME", "★",
]  # fmt: skip


def test_names_that_differ_give_folders_that_differ_whatever_the_file_system() -> None:
    folders = [unicodedata.normalize("NFKC", folder_name(name)).casefold() for name in ODD]
    assert len(set(folders)) == len(ODD)


@given(st.text(min_size=1, max_size=300))
def test_a_folder_is_one_safe_part_of_a_path(text: str) -> None:
    folder = folder_name(spelled(text))
    assert re.fullmatch(r"[\w.-]+", re.sub(r"[^\x00-\x7f]", "x", folder))
    assert not folder.startswith((".", "-"))
    assert len(folder.encode()) <= 120
    assert folder == folder_name(spelled(text))


@given(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True))
def test_a_plain_name_is_its_own_folder(name: str) -> None:
    expected = name if name not in ("con", "prn", "aux", "nul") else None
    if expected and not re.fullmatch(r"(com|lpt)\d", name):
        assert folder_name(name) == name


def test_bundled_protocols_keep_their_folders_wherever_their_files_lie(tmp_path: Path) -> None:
    for name, path in bundled_protocols().items():
        assert folder_name(study_name(path)) == name
    moved = tmp_path / "quick.toml"
    moved.write_text(bundled_protocols()["quick"].read_text(encoding="utf-8"), encoding="utf-8")
    same = load_protocol(moved, ["epochs=1"], seeds=2)
    assert same.name == load_protocol("quick").name == load_protocol("protocols/quick.toml").name


def test_both_unicode_forms_are_one_name_and_stray_bytes_are_spelled_out() -> None:
    assert study_name(Path("caf\u00e9.toml")) == study_name(Path("cafe\u0301.toml")) == "caf\u00e9"
    assert folder_name(study_name(Path("实验 一.toml"))).startswith("实验-一.")
    assert study_name(Path("caf\udce9.toml")) == "caf\\xe9"
    assert study_name(Path("a\nb.toml")) == "a\\x0ab"


def test_a_declared_name_is_text_as_written() -> None:
    assert study(name="Größe & Größe / 2").name == "Größe & Größe / 2"
    assert study(name="cafe\u0301").name == "caf\u00e9"
    refused = {"a\nb": "U\\+000A", "\x1b[31m": "U\\+001B", "  ": "blank", "": "blank"}
    for name, rule in refused.items():
        with pytest.raises(ProtocolError, match=rule):
            parse(document(name=name), "test.toml", "test")
    with pytest.raises(ProtocolError, match="255"):
        study(name="x" * 256)
