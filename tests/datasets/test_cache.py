"""The cache: written whole or not at all, by one process, and never believed when damaged."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from normbench.datasets import cache as module
from normbench.datasets.cache import DamagedCacheError, load_or_make, log_beside, read
from normbench.datasets.whole import cache_folder
from normbench.errors import UsageError, WorkError

SHAPE = (3, 4, 5)


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *SHAPE), dtype=np.uint8)


class Maker:
    """Appends ``n`` images and counts how often it is asked."""

    def __init__(self, n: int = 7, notes: dict | None = None) -> None:
        self.n, self.notes, self.calls = n, notes or {}, 0

    def __call__(self, append) -> dict:
        self.calls += 1
        for i, image in enumerate(images(self.n)):
            append(image, i % 3)
        return self.notes


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 150)  # two images a block
    monkeypatch.setattr(module, "_checked", set())


def files(folder: Path) -> list[str]:
    return sorted(p.suffix for p in folder.iterdir())


@pytest.mark.parametrize("n", [1, 2, 6, 7])
def test_what_was_made_comes_back(cache, n):
    make = Maker(n, {"a": [1, "ü"]})
    for _ in range(3):
        found = load_or_make("things", {"x": 1}, SHAPE, make)
        assert make.calls == 1
        assert np.array_equal(found.images, images(n))
        assert found.images.dtype == np.uint8
        assert found.labels.tolist() == [i % 3 for i in range(n)]
        assert found.labels.dtype == np.int64
        assert found.notes == {"a": [1, "ü"]}
    assert found.path.parent == cache
    assert found.path.name.startswith("things-")


def test_images_are_mapped_and_cannot_be_changed():
    found = load_or_make("things", 1, SHAPE, Maker())
    base = found.images
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    assert not isinstance(found.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found.images[0] = 0


def test_another_identity_or_shape_is_another_file():
    paths = {load_or_make("a", identity, SHAPE, Maker()).path for identity in (1, 2, [1], "1")}
    assert len(paths) == 4
    other = load_or_make("a", 1, (60,), lambda append: append(np.zeros(60, np.uint8), 0) or {})
    assert other.path not in paths


@pytest.mark.parametrize("image", [np.zeros(SHAPE), np.zeros((3, 4, 4), np.uint8)])
def test_a_wrong_image_is_a_bug(cache, image):
    with pytest.raises(ValueError, match="expected uint8"):
        load_or_make("a", 1, SHAPE, lambda append: append(image, 0) or {})
    assert ".images" not in files(cache)


@pytest.mark.parametrize("error", [KeyboardInterrupt, UsageError("no"), RuntimeError("bug")])
def test_what_stops_the_making_leaves_nothing(cache, error):
    def make(append):
        append(images(1)[0], 0)
        raise error

    with pytest.raises(error if isinstance(error, type) else type(error)):
        load_or_make("a", 1, SHAPE, make)
    assert set(files(cache)) <= {".lock"}
    assert len(load_or_make("a", 1, SHAPE, Maker()).images) == 7


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_nothing(cache, monkeypatch, step):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if step == "fsync":
            patch.setattr(os, "fsync", full)
        if step == "replace":
            patch.setattr(Path, "replace", full)
        with pytest.raises(WorkError, match="No space left on device") as caught:
            load_or_make("a", 1, SHAPE, full if step == "write" else Maker())
    assert "NORMBENCH_CACHE" in str(caught.value)
    assert set(files(cache)) <= {".lock"}
    assert len(load_or_make("a", 1, SHAPE, Maker()).images) == 7


def test_a_cache_that_cannot_be_made_is_told(cache):
    cache.write_text("a file", encoding="utf-8")
    with pytest.raises(WorkError, match="NORMBENCH_CACHE"):
        load_or_make("a", 1, SHAPE, Maker())


def test_what_a_killed_process_left_is_removed(cache):
    path = load_or_make("a", 1, SHAPE, Maker()).path
    path.unlink()
    left = path.with_name(f"{path.name}.99999999.tmp")
    left.write_bytes(b"half")
    load_or_make("a", 1, SHAPE, Maker())
    assert not left.exists()


DAMAGE = {
    "empty": lambda b: b"",
    "start": lambda b: b[:10],
    "half": lambda b: b[: len(b) // 2],
    "last byte": lambda b: b[:-1],
    "more": lambda b: b + b"x",
    "first byte gone": lambda b: b[1:],
    "first image": lambda b: bytes([b[0] ^ 1]) + b[1:],
    "last image": lambda b: b[: 7 * 60 - 1] + bytes([b[7 * 60 - 1] ^ 128]) + b[7 * 60 :],
    "footer": lambda b: b[: 7 * 60 + 5] + b"#" + b[7 * 60 + 6 :],
    "length": lambda b: b[: -len(module.MARK) - 1] + b"\x7f" + module.MARK,
    "another file": lambda b: b"PAR1" * 100,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_cache_is_made_again_with_a_warning(caplog, kind):
    path = load_or_make("a", 1, SHAPE, Maker()).path
    whole = path.read_bytes()
    module._checked.clear()
    path.write_bytes(DAMAGE[kind](whole))
    make = Maker()
    with caplog.at_level(logging.WARNING):
        found = load_or_make("a", 1, SHAPE, make)
    assert make.calls == 1
    assert np.array_equal(found.images, images(7))
    assert path.read_bytes() == whole
    assert len(caplog.messages) == 1
    assert "is damaged" in caplog.text
    assert path.name in caplog.text


def test_a_footer_that_does_not_fit_is_damage():
    path = load_or_make("a", 1, SHAPE, Maker()).path
    footer, _ = module._footer(path)
    for change in ({"shape": [6, *SHAPE]}, {"labels": [0]}, {"blocks": []}, {"shape": "x"}):
        text = json.dumps(footer | change).encode()
        tail = module.hashlib.sha256(text).digest() + len(text).to_bytes(8, "little")
        path.write_bytes(images(7).tobytes() + text + tail + module.MARK)
        with pytest.raises(DamagedCacheError):
            read(path)


def test_images_are_compared_once_a_process_and_file(monkeypatch):
    checks = []
    real = module._check_blocks
    monkeypatch.setattr(module, "_check_blocks", lambda *a: (checks.append(1), real(*a)))
    for _ in range(3):
        path = load_or_make("a", 1, SHAPE, Maker()).path
    assert len(checks) == 1
    path.write_bytes(path.read_bytes())  # another time of change
    os.utime(path, ns=(1, 1))
    load_or_make("a", 1, SHAPE, Maker())
    assert len(checks) == 2


def test_a_worker_checks_what_it_opens(monkeypatch):
    path = load_or_make("a", 1, SHAPE, Maker()).path
    whole = path.read_bytes()
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    monkeypatch.setattr(module, "is_worker", lambda: True)
    make = Maker()
    assert np.array_equal(load_or_make("a", 1, SHAPE, make).images, images(7))
    assert make.calls == 1


def test_the_digest_stands_for_the_images():
    found = [load_or_make("a", i, SHAPE, Maker(n)) for i, n in enumerate((7, 7, 6))]
    assert found[0].digest == found[1].digest != found[2].digest
    assert load_or_make("a", 0, SHAPE, Maker()).digest == found[0].digest


def test_what_is_skipped_is_listed_beside_the_cache():
    skipped = {"b.jpg": "empty file", "\udcff.jpg": "truncated", "\x1b[2J.jpg": "a\nb"}
    found = load_or_make("a", 1, SHAPE, Maker(notes={"skipped": skipped}))
    assert found.notes["skipped"] == skipped
    log = log_beside(found.path)
    assert log.read_bytes() == b"\\x1b[2J.jpg\ta\\nb\nb.jpg\tempty file\n\\xff.jpg\ttruncated\n"
    assert not log_beside(load_or_make("a", 2, SHAPE, Maker()).path).exists()


def ask(folder: str, barrier, calls) -> None:
    """In a process of its own: everybody asks at the same moment."""
    os.environ["NORMBENCH_CACHE"] = folder

    def make(append):
        with calls.get_lock():
            calls.value += 1
        return Maker(50)(append)

    barrier.wait(60)
    found = load_or_make("a", 1, SHAPE, make)
    assert np.array_equal(found.images, images(50))


def test_of_several_processes_one_makes_the_file(cache):
    context = multiprocessing.get_context("spawn")
    barrier, calls = context.Barrier(3), context.Value("i", 0)
    processes = [context.Process(target=ask, args=(str(cache), barrier, calls)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert calls.value == 1
    assert not [p for p in cache.iterdir() if p.suffix == ".tmp"]


def test_waiting_for_another_process_is_said(monkeypatch):
    said = []
    path = load_or_make("a", 1, SHAPE, Maker()).path
    path.unlink()
    held, asked = threading.Event(), threading.Event()

    def hold():
        with FileLock(path.with_name(f"{path.name}.lock")):
            held.set()
            asked.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(60)
    monkeypatch.setattr(module.log, "info", lambda *words: (said.append(words[0]), asked.set()))
    load_or_make("a", 1, SHAPE, Maker())
    other.join()
    assert len(said) == 1
    assert "waiting for another process" in said[0]


def test_the_cache_lies_where_it_is_asked_for(tmp_path, monkeypatch):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("NORMBENCH_CACHE", "relative")
    assert cache_folder() == Path.cwd() / "relative"
    monkeypatch.setenv("NORMBENCH_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "normbench"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "normbench"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache_folder() == tmp_path / "home" / ".cache" / "normbench"


def test_without_a_home_the_variable_is_named(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NORMBENCH_CACHE")
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(UsageError, match="NORMBENCH_CACHE"):
        cache_folder()
