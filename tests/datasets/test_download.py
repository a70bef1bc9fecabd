"""Fetching from a server that cuts connections, ignores ranges, and gives something else."""

from __future__ import annotations

import hashlib
import shutil
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from normbench.datasets.download import Known, fetch_file
from normbench.errors import WorkError
from tests.datasets.server import Served, serving

CONTENT = bytes(range(256)) * 4000


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def served() -> Iterator[Served]:
    one = Served(CONTENT)
    with serving(one):
        yield one


def known(served: Served) -> Known:
    return Known(served.url, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def fetch(served: Served, path: Path, **changes: object) -> None:
    fetch_file(replace(known(served), **changes), path, pause=0.0)


def assert_whole(path: Path) -> None:
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_is_fetched_and_nothing_else_stays(served: Served, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    fetch_file(known(served), tmp_path / "a.zip", lambda *x: told.append(x))
    assert_whole(tmp_path / "a.zip")
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert served.asked == [""]


def test_cut_connections_are_taken_up_where_they_ended(served: Served, tmp_path: Path) -> None:
    served.cuts = [100_000, 1, 300_000]
    fetch(served, tmp_path / "a.zip")
    assert_whole(tmp_path / "a.zip")
    assert served.asked == ["", "bytes=100000-", "bytes=100001-", "bytes=400001-"]


def test_another_call_goes_on_from_what_is_kept(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    served.cuts = [100_000] + [0] * 5
    with pytest.raises(WorkError, match=r"100,000 of 1,024,000 bytes are here and kept"):
        fetch(served, path)
    assert not path.exists()
    assert len(served.asked) == 6
    served.asked.clear()
    fetch(served, path)
    assert served.asked == ["bytes=100000-"]
    assert_whole(path)


def test_a_server_without_ranges_begins_anew(served: Served, tmp_path: Path) -> None:
    served.cuts, served.ignores_range = [100_000], True
    fetch(served, tmp_path / "a.zip")
    assert_whole(tmp_path / "a.zip")


def test_a_file_that_changed_meanwhile_begins_anew(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    served.content, served.cuts = CONTENT[::-1], [100_000] + [0] * 5
    with pytest.raises(WorkError):
        fetch(served, path)
    served.content, served.tag = CONTENT, '"two"'
    fetch(served, path)
    assert_whole(path)


def test_errors_of_the_server_pass(served: Served, tmp_path: Path) -> None:
    served.statuses = [503, 500, 429]
    fetch(served, tmp_path / "a.zip")
    assert_whole(tmp_path / "a.zip")


def test_redirections_are_followed_to_pages_of_the_network_alone(
    served: Served, tmp_path: Path
) -> None:
    moved = served.url.replace("some.zip", "moved")
    served.redirects = served.url
    fetch(served, tmp_path / "a.zip", url=moved)
    assert_whole(tmp_path / "a.zip")
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    served.redirects = secret.as_uri()
    with pytest.raises(WorkError, match="302"):
        fetch(served, tmp_path / "b.zip", url=moved)
    served.redirects = moved
    with pytest.raises(WorkError, match="30"):
        fetch(served, tmp_path / "c.zip", url=moved)
    assert not list(tmp_path.glob("[bc].zip"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "text/html"}, "text/html, a page and not an archive"),
        ({"length": 10}, "it has 10 bytes, not 1,024,000"),
        ({"length": 2_000_000}, "it has 2,000,000 bytes, not 1,024,000"),
        ({"wrong_start": 7, "cuts": [50]}, "what follows byte 50, it gives that from 57"),
        ({"statuses": [404]}, "answers 404"),
        ({"statuses": [403]}, "answers 403"),
    ],
)
def test_something_else_is_refused(served: Served, tmp_path: Path, change, said: str) -> None:
    for name, value in change.items():
        setattr(served, name, value)
    with pytest.raises(WorkError, match=said):
        fetch(served, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_other_bytes_of_the_same_length_are_removed(served: Served, tmp_path: Path) -> None:
    served.content = CONTENT[:-1] + b"x"
    with pytest.raises(WorkError, match=r"SHA-256 is .* it was removed"):
        fetch(served, tmp_path / "a.zip")
    assert not list(tmp_path.iterdir())
    served.content = CONTENT
    fetch(served, tmp_path / "a.zip")
    assert_whole(tmp_path / "a.zip")


def test_a_part_that_is_too_long_begins_anew(served: Served, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"x" * (len(CONTENT) + 5))
    with pytest.raises(WorkError, match="it was removed"):
        fetch(served, tmp_path / "a.zip")
    fetch(served, tmp_path / "a.zip")
    assert_whole(tmp_path / "a.zip")


def test_nobody_there_is_told(tmp_path: Path) -> None:
    gone = Known("http://127.0.0.1:1/a.zip", 5, "0")
    with pytest.raises(WorkError, match=r"cannot be fetched .*refused.*; 0 of 5 bytes"):
        fetch_file(gone, tmp_path / "a.zip", pause=0.0)


def test_too_little_room_is_told_before_anything_is_fetched(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 1000))
    with pytest.raises(WorkError, match=r"needs 1,024,000 bytes of room.* has 1,000"):
        fetch(served, tmp_path / "a.zip")
    assert served.asked == []
