"""The catalogue: every entry leads to code, and unknown names get a helpful answer."""

from __future__ import annotations

import inspect
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from normbench.catalog import (
    BATCH_STATISTICS,
    DATASETS,
    MODELS,
    NORMS,
    OPTIMIZERS,
    PROBES,
    Catalog,
    Entry,
    Param,
    nearest,
    probes_that_give,
    quantity,
)
from normbench.errors import UsageError

CATALOGS = [NORMS, DATASETS, MODELS, OPTIMIZERS, PROBES]
ENTRIES = [(c, name) for c in CATALOGS for name in c]
IDS = [f"{c.kind}-{name}" for c, name in ENTRIES]


@pytest.mark.parametrize(("catalog", "name"), ENTRIES, ids=IDS)
def test_every_target_resolves_and_takes_its_parameters(catalog: Catalog, name: str) -> None:
    entry = catalog[name]
    target = entry.load()
    assert entry.summary
    if catalog is DATASETS:
        assert callable(target.load)
        assert callable(target.missing)
        return
    taken = inspect.signature(target).parameters
    keywords = {n for n, p in taken.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    told = {"batch_size"} if BATCH_STATISTICS in entry.traits else set()
    told |= {"decayed"} if catalog is OPTIMIZERS else set()
    assert keywords == set(entry.params) | told


@pytest.mark.parametrize(("catalog", "name"), ENTRIES, ids=IDS)
def test_every_default_lies_in_its_range(catalog: Catalog, name: str) -> None:
    for key, param in catalog[name].params.items():
        assert param.doc, key
        if param.choices:
            assert param.default in param.choices
        if isinstance(param.default, str | bool):
            continue
        assert param.above is None or param.default > param.above
        assert param.at_least is None or param.default >= param.at_least
        assert param.at_most is None or param.default <= param.at_most


def test_the_norms_that_the_protocol_promises_are_there() -> None:
    assert {"none", "batch", "layer", "group", "instance"} <= set(NORMS)


def test_every_quantity_has_one_name_and_texts_that_fit_into_sentences() -> None:
    given = [(name, q) for name, entry in PROBES.items() for q in entry.gives]
    assert {name for name, _ in given} == set(PROBES)
    names = [q.name for _, q in given]
    assert len(names) == len(set(names))
    for name, found in given:
        assert probes_that_give(found.name) == [name]
        assert quantity(found.name) == found
        assert found.reading.endswith(".")
        assert not found.title.endswith(".")
    with pytest.raises(UsageError, match="did you mean 'weight-norm'"):
        quantity("weigth-norm")


@pytest.mark.parametrize("catalog", CATALOGS, ids=lambda c: c.kind)
def test_an_unknown_name_is_answered_with_the_nearest(catalog: Catalog) -> None:
    known = next(iter(catalog))
    with pytest.raises(UsageError) as caught:
        catalog[known + "x"]
    assert f"unknown {catalog.kind} '{known}x'; did you mean '{known}'?" in str(caught.value)
    with pytest.raises(UsageError) as caught:
        catalog["@@@@@@@@@@@@@@@@@@@@@"]
    assert "did you mean" not in str(caught.value)
    assert all(name in str(caught.value) for name in catalog)


def test_a_catalogue_is_a_mapping() -> None:
    one = Catalog("thing", {"a": Entry("math:pi", "pi"), "b": Entry("math:e", "e")})
    assert list(one) == ["a", "b"]
    assert len(one) == 2
    assert "a" in one
    assert "c" not in one
    assert one["a"].load() == pytest.approx(3.14159265)
    assert one == one
    assert one != Catalog("thing", {"a": one["a"], "b": one["b"]})


@pytest.mark.parametrize(
    ("word", "known", "found"),
    [("bacth", ["batch", "layer"], "batch"), ("GROUP", ["group"], "group"), ("q", ["batch"], None)],
)
def test_nearest(word: str, known: list[str], found: str | None) -> None:
    assert nearest(word, known) == found


class Point:
    """A stand-in for an entry point of another package."""

    def __init__(self, name: str, content: Any) -> None:
        self.name, self.value, self._content = name, f"other:{name}", content

    def load(self) -> Any:
        return self._content


def registering(monkeypatch: pytest.MonkeyPatch, *points: Point) -> None:
    def found(*, group: str) -> list[Point]:
        assert group == "normbench.bignorms"
        return list(points)

    monkeypatch.setattr("normbench.catalog.packages.entry_points", found)


def test_another_package_can_register_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Entry("math:pi", "mine", params={"x": Param(1, "a number")})
    registering(monkeypatch, Point("mine", mine))
    one = Catalog("big norm", {"a": Entry("math:e", "e")})
    assert list(one) == ["a", "mine"]
    assert one["mine"] is mine


def raising(error: BaseException) -> Any:
    """An entry point that raises when it is loaded."""

    class Raising(Point):
        def load(self) -> Any:
            raise error

    return Raising("b", None)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        (Point("b", "math:pi"), "must be a normbench.catalog.Entry; received str"),
        (Point("b", Entry("math", "no attribute")), "module:attribute"),
        (Point("b", Entry(3, "no text")), "module:attribute"),  # type: ignore[arg-type]
        (Point("b", Entry("math:e", "", params={"x": 3})), "Param"),  # type: ignore[dict-item]
        (Point("b", Entry("math:e", "", params={"x": Param(None, "")})), "Param"),  # type: ignore[arg-type]
        (Point("b", Entry("math:e", "", params={"a-b": Param(1, "")})), "'a-b'"),
        (Point("b", Entry("math:e", "", params={"x": Param("q", "", choices=("r",))})), "choices"),
        (Point("b", Entry("math:e", "", gives=("x",))), "Quantity"),  # type: ignore[arg-type]
        (raising(ImportError("no such\nmodule")), "ImportError: no such module"),
        (raising(SystemExit(3)), "SystemExit: 3"),
        (raising(AttributeError("ENTRY")), "AttributeError: ENTRY"),
    ],
)
def test_a_wrong_registration_is_left_out_said_once_and_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, point: Point, said: str
) -> None:
    monkeypatch.setattr("normbench.catalog.packages._said", set())
    registering(monkeypatch, point)
    one = Catalog("big norm", {"a": Entry("math:e", "e")})
    assert list(one) == list(one) == ["a"]
    (text,) = caplog.messages
    assert said in text
    assert text.startswith("warning: the big norm 'b' of the package other cannot be used: ")
    with pytest.raises(UsageError) as caught:
        one["b"]
    assert said in str(caught.value)


def test_a_name_that_is_taken_stays_what_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("normbench.catalog.packages._said", set())
    registering(monkeypatch, Point("a", Entry("math:pi", "again")))
    one = Catalog("big norm", {"a": Entry("math:e", "e")})
    assert one["a"].target == "math:e"
    assert one.built_in("a")
    assert "taken by one of normbench's own" in caplog.text


def test_a_name_that_two_packages_register_is_neithers(monkeypatch: pytest.MonkeyPatch) -> None:
    registering(monkeypatch, *(Point("b", Entry(f"math:{x}", "")) for x in ("pi", "e", "tau")))
    one = Catalog("big norm", {"a": Entry("math:e", "e")})
    assert list(one) == ["a"]
    with pytest.raises(UsageError, match="register it"):
        one["b"]


def test_a_list_of_entry_points_that_cannot_be_read_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Made:
        version = "2"

        def __init__(self, name: str) -> None:
            self.name = name

        @property
        def entry_points(self) -> Any:
            if self.name == "broken":
                raise TypeError("not a pair")
            point = Point("b", Entry("math:e", "e"))
            return SimpleNamespace(select=lambda group: [point] if "bignorm" in group else [])

    def found(*, group: str) -> Any:
        raise TypeError(group)

    monkeypatch.setattr("normbench.catalog.packages.entry_points", found)
    made = [Made("broken"), Made("sound")]
    monkeypatch.setattr("normbench.catalog.packages.distributions", lambda: made)
    monkeypatch.setattr("normbench.catalog.packages._said", set())
    assert list(Catalog("big norm", {})) == ["b"]
    assert list(Catalog("bignorm", {})) == ["b"]
    assert len(caplog.messages) == 1
    assert "broken 2" in caplog.text


def test_listing_imports_no_component() -> None:
    code = (
        "import sys;"
        "from normbench.catalog import NORMS, DATASETS, MODELS, OPTIMIZERS as O, PROBES;"
        "[list(c) for c in (NORMS, DATASETS, MODELS, O, PROBES)];"
        "print([m for m in ('torch', 'sklearn', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
