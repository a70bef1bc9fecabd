"""The code of a component of another package: every module of it counts, and nothing else."""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from normbench.catalog import NORMS, Catalog, Entry
from normbench.catalog.fingerprints import fingerprint, imported
from normbench.errors import WorkError
from tests.packages import lay

ENTRY = "from normbench.catalog import Entry\nENTRY = Entry('{target}', 'made')\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path; what was imported from it goes."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "") or ""):
            del sys.modules[name]


def sources(name: str = "made") -> str:
    """The hash of what is registered in a folder now, as a fresh process would see it."""
    importlib.invalidate_caches()
    found = fingerprint(Catalog("made thing", {}), name)
    assert found is not None
    assert (found.component, found.distribution) == (f"made thing {name}", "made-package")
    return found.sources


def register(folder: Path, files: dict[str, str], entry: str) -> None:
    points = f"[normbench.madethings]\nmade = {entry}:ENTRY\n"
    lay(folder, files, points, "made-package")


def changed(folder: Path, file: str) -> bool:
    """Whether the hash is another one after a change of a file, and the first again after."""
    before = sources()
    path = folder / file
    content = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((content or b"") + b"# more\n")
    after = sources()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert sources() == before
    return before != after


def test_every_module_of_the_package_counts_and_no_other_file(folder: Path) -> None:
    files = {
        "made_code/__init__.py": "", "made_code/entry.py": ENTRY.format(target="made_more.net:f"),
        "made_code/deep/__init__.py": "", "made_code/deep/helper.py": "x = 1\n",
        "made_more/__init__.py": "", "made_more/net.py": "f = 1\n",
        "made_code/table.csv": "1\n", "unrelated.py": "",
    }  # fmt: skip
    register(folder, files, "made_code.entry")
    for file in files:
        assert changed(folder, file) == (file.endswith(".py") and file != "unrelated.py"), file
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    assert changed(folder, f"made_code/fast{suffix}")
    assert not changed(folder, "made_code/__pycache__/entry.py")


def test_a_module_of_one_file_counts_alone(folder: Path) -> None:
    register(folder, {"made_one.py": ENTRY.format(target="made_one:f"), "other.py": ""}, "made_one")
    assert changed(folder, "made_one.py")
    assert not changed(folder, "other.py")


def test_of_a_namespace_that_packages_share_its_own_part_counts(folder: Path) -> None:
    files = {
        "shared_space/mine/__init__.py": ENTRY.format(target="shared_space.mine.net:f"),
        "shared_space/mine/net.py": "f = 1\n", "shared_space/theirs/__init__.py": "",
    }  # fmt: skip
    register(folder, files, "shared_space.mine")
    assert changed(folder, "shared_space/mine/net.py")
    assert not changed(folder, "shared_space/theirs/__init__.py")


def test_what_lies_beside_a_module_in_a_folder_without_init_counts(folder: Path) -> None:
    files = {
        "made_space/entry.py": ENTRY.format(target="made_space.entry:f"),
        "made_space/helper.py": "x = 1\n",
    }
    register(folder, files, "made_space.entry")
    assert changed(folder, "made_space/helper.py")


def test_modules_behind_links_count_and_circles_end(folder: Path) -> None:
    files = {
        "made_linked/__init__.py": ENTRY.format(target="made_linked:f"),
        "elsewhere/helper.py": "x = 1\n",
    }
    register(folder, files, "made_linked")
    (folder / "made_linked" / "parts").symlink_to(folder / "elsewhere")
    (folder / "elsewhere" / "back").symlink_to(folder / "made_linked")
    assert changed(folder, "elsewhere/helper.py")


def test_bytecode_of_earlier_code_is_refused(folder: Path) -> None:
    files = {
        "made_stale/__init__.py": ENTRY.format(target="made_stale.net:f"),
        "made_stale/net.py": "f = 1.0\n",
    }
    register(folder, files, "made_stale")
    source = folder / "made_stale" / "net.py"
    py_compile.compile(str(source))
    when = source.stat()
    before = sources()
    source.write_text("f = 1.0\n", encoding="utf-8")  # the same code, touched
    os.utime(source, ns=(when.st_atime_ns, when.st_mtime_ns))
    assert sources() == before
    source.write_text("f = 2.0\n", encoding="utf-8")
    os.utime(source, ns=(when.st_atime_ns, when.st_mtime_ns))
    with pytest.raises(WorkError, match=r"Python would run an earlier net\.py"):
        sources()
    os.utime(source)
    if source.stat().st_mtime_ns // 10**9 == when.st_mtime_ns // 10**9:
        os.utime(source, (1, 1))
    assert sources() != before


def test_all_modules_that_the_distribution_lists_count(folder: Path) -> None:
    files = {"made_two.py": ENTRY.format(target="made_two:f"), "made_helper.py": "x = 1\n"}
    register(folder, files, "made_two")
    assert not changed(folder, "made_helper.py")
    (about,) = folder.glob("*.dist-info")
    listed = "made_two.py,,\nmade_helper.py,,\n../bin/made,,\n"
    (about / "RECORD").write_text(listed, encoding="utf-8")
    assert changed(folder, "made_helper.py")


def test_a_built_in_component_has_no_code_of_its_own() -> None:
    assert fingerprint(Catalog("made thing", {"own": Entry("math:pi", "")}), "own") is None


def test_our_own_modules_are_no_part_of_another_packages_code(folder: Path) -> None:
    text = ENTRY.format(target="normbench.norms.layer:build")
    register(folder, {"made_three.py": text}, "made_three")
    one = sources()
    register(folder, {"made_three.py": text.replace("layer", "rms")}, "made_three")
    assert sources() != one


def test_a_name_with_another_entry_has_other_code(monkeypatch):
    assert imported(NORMS, "group") is None
    monkeypatch.setitem(
        NORMS._entries, "group", Entry("tests.packages:lay", "", params=NORMS["group"].params)
    )
    assert imported(NORMS, "group").distribution == "tests"
