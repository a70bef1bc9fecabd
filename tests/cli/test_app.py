"""The command itself: help, start-up time, and the one place where errors become messages."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

import normbench

HEAVY = ("torch", "pandas", "pyarrow", "pydantic", "matplotlib", "seaborn", "scipy", "sklearn")


def test_help_comes_in_under_half_a_second():
    # processor time: what it takes on an idle machine, whatever else this one is doing
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "normbench", "--help"], capture_output=True, text=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < 0.5


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['normbench', '--help']\n"
        "from normbench.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('heavy:', sorted(set(sys.modules) & {set(HEAVY)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("heavy: []")


def test_help_names_every_command(cli):
    said = cli("--help")
    assert said.status == 0
    for command in ("run", "plan", "status", "report", "schema"):
        assert command in said.out


def test_version(cli):
    assert cli("--version").out == f"normbench {normbench.__version__}\n"


def test_no_command_shows_the_help(cli):
    said = cli()
    assert said.status in (0, 2)
    assert "Usage" in said.out + said.err


@pytest.mark.parametrize("arguments", [("rum",), ("run",), ("run", "--nope"), ("status", "a", "b")])
def test_wrong_usage_ends_with_2(cli, arguments):
    said = cli(*arguments)
    assert said.status == 2
    assert "Usage" in said.err


def test_a_bug_keeps_its_traceback(cli, tiny, monkeypatch):
    import normbench.workflow

    def broken(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(normbench.workflow, "prepare_plan", broken)
    with pytest.raises(ZeroDivisionError):
        cli("run", tiny)


def test_an_interrupt_ends_with_130(cli, tiny, monkeypatch):
    import normbench.workflow

    def press(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(normbench.workflow, "prepare_plan", press)
    assert cli("run", tiny).status == 130


def test_the_package_offers_load_and_no_unknown_name():
    assert callable(normbench.load)
    assert normbench.Results.__name__ == "Results"
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = normbench.lod


def test_a_closed_pipe_is_no_traceback(tmp_path):
    done = subprocess.run(
        f"{sys.executable} -m normbench schema | head -c 10",
        shell=True, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stderr == ""
    assert len(done.stdout) == 10


def test_a_command_ends_without_the_libraries_ends(tmp_path):
    # what C++ would do at the end of the process, such as to abort it, is not waited for
    source = (
        "import atexit, ctypes, sys, threading, time\n"
        "libc = ctypes.CDLL(None)\n"
        "abort = ctypes.CFUNCTYPE(None)(lambda: libc.abort())\n"
        "libc.__cxa_atexit(abort, None, None)\n"
        "atexit.register(lambda: print('atexit'))\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()\n"
        "from normbench.cli import command\n"
        "command()\n"
    )
    for arguments, status in ((["--version"], 0), (["status", "nowhere"], 2)):
        done = subprocess.run(
            [sys.executable, "-c", source, *arguments], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == status, done.stderr
        said = done.stdout.splitlines()
        assert "thread" in said
        assert said[-1] == "atexit"
