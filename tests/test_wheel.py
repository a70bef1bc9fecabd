"""What is handed out: the archive of the sources, and the wheel, which works outside the checkout.

The wheel is built from the archive, as an installer does it, and installed into a virtual
environment of its own, which borrows all other packages from the one that runs the tests.
"""

from __future__ import annotations

import email
import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from normbench.protocol.load import bundled_protocols

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command says; a failure shows all of it."""
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, capture_output=True, text=True, env=os.environ | environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of the sources, built from this checkout."""
    folder = tmp_path_factory.mktemp("sources")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (found,) = folder.glob("normbench-*.tar.gz")
    return found


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the archive."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sources) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=unpacked)
    (found,) = folder.glob("normbench-*.whl")
    return found


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel,
        cwd=folder, PYTHONPATH="")  # fmt: skip
    # The environment's own packages come first, and a path that is borrowed brings no .pth file of
    # its own into force: the editable installation of the checkout stays outside.
    own = run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=folder).strip()
    (Path(own) / "borrowed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return folder / "bin"


def test_the_archive_holds_what_a_package_has(sources: Path) -> None:
    with tarfile.open(sources) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    for name in (
        "LICENSE", "CITATION.cff", "CONTRIBUTING.md", "SECURITY.md", "README.md", "CHANGELOG.md",
        "Makefile", "pyproject.toml", "docs/running.md", "protocols/full.toml",
        "results/README.md", "tests/test_wheel.py",
    ):  # fmt: skip
        assert name in held


def test_the_wheel_holds_every_module_and_what_it_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.endswith("/")}
        said = next(name for name in held if name.endswith("/METADATA"))
        metadata = email.message_from_string(archive.read(said).decode())
    inside = ROOT / "harness" / "normbench"
    parts = [p for p in inside.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {f"normbench/{part.relative_to(inside)}" for part in parts} <= held
    assert "normbench/py.typed" in held
    assert {f"normbench/_protocols/{path.name}" for path in bundled_protocols().values()} <= held
    assert [name for name in held if name.endswith("licenses/LICENSE")]
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Version"] == PROJECT["version"]
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])


def test_the_installed_wheel_trains_and_reports_outside_the_checkout(
    clean: Path, tmp_path: Path
) -> None:
    def normbench(*arguments: str) -> str:
        return run(clean / "normbench", *arguments, cwd=tmp_path, PYTHONPATH="")

    where = "import normbench; print(normbench.__file__)"
    found = run(clean / "python", "-c", where, cwd=tmp_path, PYTHONPATH="").strip()
    assert Path(found).is_relative_to(clean.parent)
    assert normbench("--version") == f"normbench {PROJECT['version']}\n"
    small = ["--set", "epochs=1", "--seeds", "2", "--only", "batch_size=128"]
    normbench("run", "quick", "--workers", "0", *small)
    assert "report:" in normbench("report", "results/quick")
    page = (tmp_path / "reports" / "quick.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "Quick look: normalization and batch size" in page
    assert normbench("report", "results/quick", "--format", "md").startswith("# Quick look")
    assert "properties" in normbench("schema")
    for name in bundled_protocols():
        # its data need not be here: found, read and resolved is what is asked
        code = f"from normbench.protocol.load import load_protocol; load_protocol({name!r})"
        run(clean / "python", "-c", code, cwd=tmp_path, PYTHONPATH="")


def test_the_citation_names_this_version() -> None:
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {PROJECT['version']}" in lines
    assert f"license: {PROJECT['license']}" in lines
