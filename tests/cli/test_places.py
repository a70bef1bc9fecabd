"""Names of any kind for results, protocols and pages; places that hold something else."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.cli.refusals import everything, refused

NAMES = ["v1:x", "s3:bucket", "file:x", "new\nline\x1b[31m", b"a\xff\xfeb", "-x y%20"]


def named(name: str | bytes) -> str:
    return name if isinstance(name, str) else os.fsdecode(name)


@pytest.mark.parametrize("name", NAMES)
def test_results_may_have_any_name_that_a_folder_may(cli, tiny, results, tmp_path, name):
    folder = tmp_path / named(name)
    results.rename(folder)
    place = "./" + named(name)
    lines = (("run", tiny, "--workers", "0", "--results", place), ("status", place),
             ("plan", tiny, "--no-estimate", "--results", place),
             ("analyse", place, "-o", place + "_tables"),
             ("report", place, "--format", "md", "-o", place + ".md"))  # fmt: skip
    for line in lines:
        said = cli(*line)
        assert said.status == 0, said.err
        assert "\x1b[31m" not in said.out + said.err
    assert (tmp_path / (named(name) + "_tables") / "claims.csv").exists()


@pytest.mark.parametrize("command", ["run", "plan", "status", "analyse", "report", "page"])
def test_a_name_that_is_too_long_is_told(cli, tiny, results, tmp_path, command):
    long = "x" * 300
    line = {
        "run": ("run", tiny, "--workers", "0", "--results", long),
        "plan": ("plan", tiny, "--no-estimate", "--results", long),
        "page": ("report", "results/tiny", "-o", f"{long}.html"),
    }.get(command, (command, long))
    before = everything(tmp_path)
    said = cli(*line)
    assert said.status in (1, 2)
    assert said.err.startswith("error: ")
    assert "File name too long" in said.err
    assert everything(tmp_path) == before


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize("place", ["", "tiny.toml", "tiny.toml/x", "/dev/null", "x" * 300])
def test_what_can_be_no_results_folder_is_refused(cli, tiny, tmp_path, command, place):
    before = everything(tmp_path)
    assert "tiny.toml" in before
    refused(cli(command, tiny, "--results", place), "the results need a folder of their own")
    assert everything(tmp_path) == before


def test_an_endless_name_gets_a_bounded_message(cli):
    said = cli("status", "y/" * 60_000)
    assert said.status in (1, 2)
    assert len(said.err) < 25_000


def test_a_process_with_few_files_is_told():
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))

    done = subprocess.run(
        [sys.executable, "-m", "normbench", "status"],
        preexec_fn=few, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: this process may hold 16 files open")
    assert "ulimit -n" in done.stderr


# -- where a report goes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["tiny.toml", "results", "results/tiny/runs.parquet", "results/tiny/protocol.json",
              "link.html", "results/tiny/protocol.toml"],
)  # fmt: skip
def test_a_report_overwrites_no_folder_protocol_or_table(cli, tiny, results, tmp_path, place):
    (tmp_path / "link.html").symlink_to(tmp_path / "tiny.toml")
    before = everything(tmp_path)
    refused(cli("report", "results/tiny", "-o", place), "likely fix: --output")
    assert everything(tmp_path) == before


@pytest.mark.parametrize("place", ["results/tiny", "results/tiny/parts"])
def test_tables_are_not_written_among_results(cli, results, tmp_path, place):
    before = everything(tmp_path)
    refused(cli("analyse", "results/tiny", "-o", place), "not written into a results folder")
    assert everything(tmp_path) == before


def test_a_pipe_gets_the_page_and_stays(cli, results, tmp_path):
    pipe = tmp_path / "page.html"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    said = cli("report", "results/tiny", "-o", "page.html")
    reader.join(60)
    assert said.status == 0, said.err
    assert read[0].startswith(b"<!DOCTYPE html>")
    assert pipe.is_fifo()
    assert not list(tmp_path.glob("*_tables"))


def test_standard_output_gets_the_page_alone(results, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "normbench", "report", "results/tiny", "-o", "/dev/stdout"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("<!DOCTYPE html>")
    assert done.stdout.rstrip().endswith("</html>")
    assert Path("/dev/stdout").is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["results"]


def test_a_list_that_is_no_file_is_left_alone(cli, results, tmp_path):
    (tmp_path / "reports").mkdir()
    os.mkfifo(tmp_path / "reports" / "index.html")
    said = cli("report", "results/tiny", "--no-index")
    assert said.status == 0, said.err
    assert (tmp_path / "reports" / "index.html").is_fifo()
