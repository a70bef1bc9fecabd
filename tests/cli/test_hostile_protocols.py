"""Files that are no protocols: each is refused within seconds, in words for any terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from normbench.protocol.reading import MAX_BYTES
from tests.cli.refusals import refused
from tests.support import TINY

ESC = "\\u001b[31m\\u202e"
#: What the file holds, and words of the refusal.
HOSTILE = {
    "nothing": (b"", ["experiment: this key is required"]),
    "a byte order mark alone": (b"\xef\xbb\xbf", ["experiment: this key is required"]),
    "zeros": (b"\0" * 1000, ["not valid TOML"]),
    "UTF-16": (TINY.encode("utf-16"), ["UTF-8 text; byte 0 is not", "save it as UTF-8"]),
    "half a character": (b'[protocol]\ntitle = "\xf0\x9f', ["UTF-8 text; byte 20 is not"]),
    "a lone surrogate": (b'[protocol]\ntitle = "\\ud800"', ["not valid TOML"]),
    "a surrogate's bytes": (b'[protocol]\ntitle = "\xed\xa0\x80"', ["UTF-8 text; byte 20 is not"]),
    "a thousand tables in each other": (
        b"[" + b".".join([b"a"] * 1000) + b"]\nx = 1\n", ["nested too deeply", "at most 32"],
    ),
    "lists in each other": (b"a = " + b"[" * 90 + b"]" * 90, ["nested too deeply"]),
    "unknown keys without end": (
        b"".join(b"k%d=1\n" % i for i in range(300_000)),
        ["a table has 300,000 keys; at most 1,000", "k0, k1, "],
    ),
    "unknown keys in many tables": (
        TINY.encode() + b"".join(
            b'[[experiment]]\nname="e%d"\n' % t + b"".join(b"k%d=1\n" % i for i in range(500))
            for t in range(200)
        ),
        ["faults\n", "unknown key 'k0'", "… and ", " more"],
    ),
    "a million values that are none": (
        TINY.replace("[8, 16]", "[" + '"a",' * 1_000_000 + "]").encode(),
        ["more than 200,000 values"],
    ),
    "as many values as are looked at": (
        TINY.replace("[8, 16]", "[" + '"a",' * 150_000 + "]").encode(), ["batch_size"],
    ),
    "a name of megabytes": (
        TINY.replace('"layer"]', f'"{"x" * 3_000_000}"]').encode(),
        ["unknown norm", "more characters)"],
    ),
    "a key of megabytes": (
        TINY.replace("epochs = 1", f'"{"y z" * 1_000_000}" = 1').encode(), ["unknown key"],
    ),
    "a title of megabytes": (
        TINY.replace("Tiny study", "t" * 3_000_000).encode(), ["protocol.title"],
    ),
    "control characters": (
        TINY.replace('"layer"]', f'"{ESC}"]').replace("epochs = 1", f'"{ESC}\\n" = 1\nepochs = 1')
        .encode(),
        ["unknown norm '\\x1b[31m\\u202e'", "unknown key '\\x1b[31m\\u202e\\n'"],
    ),
    "a number of a million digits": (
        TINY.replace("seeds = 2", "seeds = " + "9" * 1_000_000).encode(), ["digits"],
    ),
    "a number of a million hexadecimal digits": (
        TINY.replace("seeds = 2", "seeds = 0x" + "f" * 1_000_000).encode(),
        ["protocol.seeds", "a number of thousands of digits"],
    ),
    "a hexadecimal number among others": (
        TINY.replace("[8, 16]", "[8, 0x" + "f" * 100_000 + "]").encode(), ["batch_size[1]"],
    ),
    "not a number": (TINY.replace("seeds = 2", "seeds = 2\nalpha = nan").encode(), ["alpha"]),
    "infinity": (TINY.replace("rate = 0.1", "rate = -inf").encode(), ["learning_rate"]),
    "dates": (
        TINY.replace("[8, 16]", "[2020-01-01, 07:30:00]")
        .replace("epochs = 1", "epochs = 1979-05-27").encode(),
        ["batch_size[0]: must be a whole number", "epochs: must be a whole number"],
    ),
    "dates for names": (
        TINY.replace('["batch", "layer"]', "[2020-01-01]").encode(), ["product.norm[0]"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_in_bounds(cli, tmp_path, kind):
    content, words = HOSTILE[kind]
    assert len(content) <= MAX_BYTES
    (tmp_path / "bad.toml").write_bytes(content)
    started = time.perf_counter()
    said = cli("plan", "bad.toml", "--no-estimate")
    assert time.perf_counter() - started < 20  # seconds of a busy machine; alone it takes two
    refused(said, *words)
    assert len(said.err) < 50_000
    assert not [c for c in said.err if not (c.isprintable() or c == "\n")]


@pytest.mark.parametrize(
    "value", ["budget = inf", "budget = nan", "threshold = nan", "threshold = inf"]
)
def test_endpoints_are_finite(cli, tmp_path, value):
    other = "" if "threshold" in value else ", threshold = 0.5"
    text = TINY + (
        '[[claim]]\nid = "c"\nkind = "superiority"\na = "layer"\nb = "batch"\n'
        f'endpoint = {{ kind = "time", {value}{other} }}\n'
    )
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    refused(cli("plan", "bad.toml", "--no-estimate"), "claim[0].endpoint", "finite")


def test_a_file_without_end_is_read_no_further_than_the_bound(cli, tmp_path):
    refused(cli("plan", "/dev/zero"), "at most 4,194,304 bytes", "/dev/zero has more")
    with (tmp_path / "sparse.toml").open("wb") as file:
        file.truncate(60 * 2**30)
    refused(cli("plan", "sparse.toml"), "at most 4,194,304 bytes")
    refused(cli("plan", "/dev/null"), "experiment: this key is required")


@pytest.mark.parametrize("name", [".", "folder.toml"])
def test_a_folder_is_no_protocol(cli, tmp_path, name):
    (tmp_path / "folder.toml").mkdir()
    refused(cli("plan", name), "is a folder", "likely fix")


def test_a_pipe_is_read_once_and_to_its_end(cli, tmp_path):
    os.mkfifo(tmp_path / "pipe")

    def write() -> None:
        with (tmp_path / "pipe").open("w", encoding="utf-8") as pipe:
            for line in TINY.splitlines(keepends=True):
                pipe.write(line)
                pipe.flush()
                time.sleep(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    said = cli("plan", "pipe", "--no-estimate")
    writer.join()
    assert said.status == 0, said.err
    assert "4 cells, 8 runs" in said.out


def test_a_pipe_without_end_is_refused(tmp_path):
    code = (
        "from normbench.cli import main; import sys; sys.argv[1:] = ['plan', '/dev/stdin']; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", "while True: print('# x' * 1000)"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as endless:  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=endless.stdout, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip
        endless.kill()
    assert done.returncode == 2
    assert "at most 4,194,304 bytes" in done.stderr


def test_marks_and_line_ends_of_other_systems_are_read(cli, tmp_path):
    whole = TINY.replace("Tiny study", "Étude").encode("utf-8")
    for i, content in enumerate(
        [b"\xef\xbb\xbf" + whole, whole.replace(b"\n", b"\r\n"), whole.replace(b"\n", b"\r")]
    ):
        (tmp_path / f"p{i}.toml").write_bytes(content)
        said = cli("plan", f"p{i}.toml", "--no-estimate")
        assert said.status == 0, said.err


def test_a_name_of_other_bytes_is_read_and_a_fault_names_it(cli, tmp_path):
    name = os.fsdecode(b"caf\xe9\x1b[31m.toml")
    (tmp_path / name).write_text(TINY.replace('name = "tiny"\n', ""), encoding="utf-8")
    said = cli("plan", name, "--no-estimate")
    assert said.status == 0, said.err
    (tmp_path / name).write_text(TINY.replace("seeds = 2", "seeds = 0"), encoding="utf-8")
    refused(cli("plan", name), "1 fault", "protocol.seeds")


def test_values_of_overrides_are_bounded_too(cli, tiny):
    for given in ("seeds=0x" + "f" * 10_000, "batch_size=" + "[" * 200 + "]" * 200,
                  "norm=" + "x" * 50_000, "\x1b[31m=3", "title.\x1b[31m=3"):  # fmt: skip
        said = cli("plan", tiny, "--no-estimate", "--set", given)
        refused(said)
        assert len(said.err) < 30_000
        assert "\x1b" not in said.err


def test_the_folder_of_results_is_untouched(cli, tmp_path):
    (tmp_path / "bad.toml").write_bytes(b"\0")
    refused(cli("run", "bad.toml"))
    assert [p.name for p in Path().iterdir()] == ["bad.toml"]
