"""Threads keep the order, stop at an error, and show a bar on a terminal alone."""

from __future__ import annotations

import io
import sys
import threading
import time

import pytest

from normbench.datasets import parallel
from normbench.datasets.parallel import bar, in_order, usable_cores


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 200])
def test_values_come_in_the_order_of_the_items(workers, n):
    def slow_square(i):
        time.sleep(0.001 * (i % 3))
        return i * i

    assert list(in_order(slow_square, range(n), workers)) == [(i, i * i) for i in range(n)]


def test_an_error_comes_up_and_stops_the_rest():
    started = []

    def work(i):
        started.append(i)
        if i == 3:
            raise KeyError(i)
        return i

    values = in_order(work, range(10_000), 2)
    assert [next(values) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(KeyError):
        next(values)
    with pytest.raises(StopIteration):
        next(values)
    assert len(started) < 100


def test_a_reader_that_stops_leaves_no_threads():
    before = threading.active_count()
    values = in_order(lambda i: i, range(1000), 3)
    next(values)
    values.close()
    assert threading.active_count() == before


def test_there_is_a_core():
    assert usable_cores() >= 1


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("worker", [False, True])
@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_bar_is_shown_on_a_terminal_by_the_parent(monkeypatch, stream, worker):
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(parallel, "is_worker", lambda: worker)
    with bar("decoding 3 photos", 3) as step:
        for _ in range(3):
            step()
    shown = sys.stderr.getvalue()
    assert ("decoding 3 photos" in shown) == (stream is Terminal and not worker)
