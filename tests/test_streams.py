"""Whatever is printed, and whoever reads it, printing ends nothing."""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
from pathlib import Path

import pytest

from normbench import streams
from normbench.streams import bounded, plain, say

TITLE = "λ → 0: “a×b” – 实验 \udcff"


@pytest.fixture
def pipe(monkeypatch):
    """Standard output as a pipe: its end for reading, and how to set it up in an encoding."""
    reading, writing = os.pipe()

    def prepared(encoding="utf-8"):
        file = io.TextIOWrapper(io.FileIO(writing, "w", closefd=False), encoding, "strict")
        monkeypatch.setattr(sys, "stdout", file)
        streams.prepare()
        return sys.stdout

    yield reading, prepared
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "λ → 0: “a×b” – 实验 \\udcff"),
        ("latin-1", '\\u03bb -> 0: "a×b" - \\u5b9e\\u9a8c \\udcff'),
        ("ascii", '\\u03bb -> 0: "axb" - \\u5b9e\\u9a8c \\udcff'),
        ("cp1252", "\\u03bb -> 0: “a×b” – \\u5b9e\\u9a8c \\udcff"),
    ],
)
def test_characters_that_are_lacking_are_written_otherwise(pipe, encoding, expected):
    reading, prepared = pipe
    prepared(encoding)
    say(TITLE)
    sys.stdout.flush()
    assert os.read(reading, 999).decode(encoding) == expected + "\n"


def test_output_without_a_file_is_mended_too(monkeypatch):
    held = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(held, "ascii", "strict"))
    streams.prepare()
    say(TITLE)
    sys.stdout.flush()
    assert held.getvalue().startswith(b"\\u03bb -> 0")


def test_a_reader_who_leaves_ends_no_work(pipe):
    reading, prepared = pipe
    prepared()
    os.close(reading)
    for _ in range(3):
        say("x" * 100_000)
    assert streams.lost() is None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_remembered(monkeypatch):
    with Path("/dev/full").open("w", encoding="utf-8") as file:
        monkeypatch.setattr(sys, "stdout", file)
        streams.prepare()
        say("x" * 100_000)
        reason = streams.lost()
        assert reason is not None
        assert reason.errno == errno.ENOSPC


def test_output_that_was_closed_swallows(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    streams.prepare()
    say("x")
    sys.stdout.close()


def test_a_pipe_that_does_not_wait_gets_everything(pipe):
    reading, prepared = pipe
    output = prepared()
    os.set_blocking(output.fileno(), False)
    read = bytearray()

    def drain():
        while chunk := os.read(reading, 1 << 16):
            read.extend(chunk)
            if len(read) == 1_000_001:
                return

    reader = threading.Thread(target=drain)
    reader.start()
    say("x" * 1_000_000)
    output.flush()
    reader.join(30)
    assert len(read) == 1_000_001


def test_what_steers_a_terminal_is_shown_and_not_done(pipe):
    bad = "a\x1b]0;title\x07\x1b[31m\rb\x9b2J\u202ec\n\td"
    assert plain(bad) == "a\\x1b]0;title\\x07\\x1b[31m\\rb\\x9b2J\\u202ec\n\td"
    reading, prepared = pipe
    prepared()
    print(bad, flush=True)  # not even by what prints past us, colours and line ends aside
    said = os.read(reading, 999).decode()
    assert said.startswith("a\\x1b]0;title\\x07\x1b[31m\rb\\x9b2J")


def test_a_text_for_a_person_has_an_end():
    assert bounded("short") == "short"
    assert len(bounded("x" * 10_000_000)) < 21_000
    assert bounded("x" * 30_000).endswith("… (10,000 more characters)")
