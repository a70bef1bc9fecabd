"""Reading, overriding and resolving protocols."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from normbench.catalog import NORMS, PROBES
from normbench.errors import ProtocolError, UsageError
from normbench.plan.expand import expand
from normbench.protocol.load import apply_override, bundled_protocols, find, load_protocol, parse
from normbench.protocol.schema import AXES
from normbench.protocol.study import Study
from tests.builders import SMALL, cell, document, experiment, study

AXIS_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "norm": st.sampled_from(["none", "batch", "layer", "group", "instance"]),
    "batch_size": st.integers(1, 512),
    "learning_rate": st.floats(1e-6, 1e3),
    "epochs": st.integers(1, 50),
    "position": st.sampled_from(["pre", "post"]),
    "init": st.sampled_from(["torch", "he"]),
    "lr_scaling": st.sampled_from(["none", "linear", "sqrt"]),
    "split_seed": st.integers(0, 2**62),
    "evaluations_per_epoch": st.integers(1, 20),
}

ONE = """
[protocol]
seeds = 2
[defaults]
dataset = { name = "digits", items = 100 }
model = "mlp"
learning_rate = 1
epochs = 1
[[experiment]]
name = "one"
seeds = 7
sites = ["fc2"]
[experiment.product]
norm = ["none", { name = "batch", momentum = 1 }]
batch_size = [4, 8]
"""


def in_order(names: Iterable[str]) -> list[str]:
    """Axes in the order in which they vary, the last one fastest."""
    return [axis for axis in AXES if axis in names]


@st.composite
def axes(draw: st.DrawFn, most: int = 4) -> dict[str, list[Any]]:
    """Some axes, each with a few different values."""
    names = draw(st.sets(st.sampled_from(list(AXIS_VALUES)), max_size=most))
    return {
        n: draw(st.lists(AXIS_VALUES[n], min_size=1, max_size=4, unique=True))
        for n in in_order(names)
    }


def value_of(cell: Any, axis: str) -> Any:
    value = getattr(cell, axis)
    return value.name if hasattr(value, "name") else value


@settings(max_examples=40, deadline=None)
@given(product=axes())
def test_a_product_gives_every_combination_once(product: dict[str, list[Any]]) -> None:
    found = study(experiment(product=product)).experiments[0].cells
    wanted = [tuple(values) for values in itertools.product(*product.values())]
    assert [tuple(value_of(c, axis) for axis in product) for c in found] == wanted
    assert len(found) == math.prod(len(values) for values in product.values())
    for axis in set(SMALL) - set(product) - {"dataset", "model"}:
        assert {value_of(c, axis) for c in found} == {SMALL[axis]}


@settings(max_examples=30, deadline=None)
@given(product=axes(2), length=st.integers(1, 6), data=st.data())
def test_zipped_axes_go_together_within_a_product(
    product: dict[str, list[Any]], length: int, data: st.DataObject
) -> None:
    free = in_order(set(AXIS_VALUES) - set(product))
    fewest = {"min_size": length, "max_size": length}
    zipped = {axis: data.draw(st.lists(AXIS_VALUES[axis], **fewest)) for axis in free[:2]}
    assume(len(set(zip(*zipped.values(), strict=True))) == length)
    one = study(experiment(product=product, zip=zipped)).experiments[0]
    rows = list(zip(*zipped.values(), strict=True))
    wanted = [p + r for p in itertools.product(*product.values()) for r in rows]
    order = [*product, *zipped]
    assert [tuple(value_of(c, axis) for axis in order) for c in one.cells] == wanted
    assert set(one.varies) == set(order)


def test_the_nearest_setting_wins() -> None:
    text = document(
        experiment("default", position="post", epochs=5),
        experiment(
            "own", seeds=3, thresholds=0.7, window=5, metric="loss", reference="batch", epochs=5
        ),
        seeds=2,
        thresholds=[0.9, 0.5],
    )
    text["defaults"] = {"position": "pre", "init": "he"}
    default, own = parse(text, "f", "n").experiments
    assert default.seeds == (0, 1)
    assert default.thresholds == (0.5, 0.9)
    assert (default.metric, default.window) == ("accuracy", 3)
    assert own.seeds == (0, 1, 2)
    assert own.thresholds == (0.7,)
    assert (own.metric, own.window, own.reference) == ("loss", 5, "batch")
    assert (default.cells[0].position, own.cells[0].position) == ("post", "pre")
    assert default.cells[0].init == "he"


def test_all_parameters_are_explicit_in_the_resolved_form() -> None:
    cell = study(experiment(norm={"name": "group", "groups": 4})).experiments[0].cells[0]
    assert cell.norm.model_dump() == {"name": "group", "groups": 4, "eps": 1e-5, "affine": True}
    assert cell.norm.label == "group(groups=4)"
    assert cell.optimizer.model_dump() == {
        "name": "sgd",
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0,
        "decay_norms": False,
    }
    assert set(cell.model_dump()) == set(AXES)


@pytest.mark.parametrize(
    ("given", "norms", "reference"),
    [(None, ["layer", "none"], "none"), (None, ["layer", "batch"], "layer"),
     ("batch", ["none", "batch"], "batch")],
)  # fmt: skip
def test_the_reference_norm(given: str | None, norms: list[str], reference: str) -> None:
    one = experiment(product={"norm": norms}, **({"reference": given} if given else {}))
    assert study(one).experiments[0].reference == reference


def test_the_protocols_reference_holds_where_the_experiment_has_it() -> None:
    with_it, without = experiment("a", norm="layer"), experiment("b", norm="group")
    found = study(with_it, without, reference="layer")
    assert [e.reference for e in found.experiments] == ["layer", "group"]


@settings(max_examples=25, deadline=None)
@given(product=axes(), seeds=st.lists(st.integers(0, 2**62), min_size=1, max_size=5, unique=True))
def test_a_resolved_protocol_is_valid_and_read_back_unchanged(
    product: dict[str, list[Any]], seeds: list[int]
) -> None:
    one = study(experiment(product=product), seeds=seeds)
    assert Study.model_validate_json(one.model_dump_json()) == one
    assert Study.model_validate(one.model_dump()) == one
    again = Study.model_validate_json(one.model_dump_json())
    assert [r.run_hash for r in expand(again)] == [r.run_hash for r in expand(one)]


def test_the_three_ways_of_scaling_the_learning_rate() -> None:
    table = experiment(
        learning_rate=0.1, lr_reference_batch=32,
        product={"batch_size": [8, 32, 128], "lr_scaling": ["none", "linear", "sqrt"]},
    )  # fmt: skip
    found = [c.scaled_learning_rate() for c in study(table).experiments[0].cells]
    wanted = [0.1, 0.025, 0.05, 0.1, 0.1, 0.1, 0.1, 0.4, 0.2]
    assert found == pytest.approx(wanted, rel=1e-15)


# -- overrides ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(data=st.data(), axis=st.sampled_from(sorted(set(AXIS_VALUES) - {"norm"})))
def test_an_override_holds_in_every_experiment(data: st.DataObject, axis: str) -> None:
    value = data.draw(AXIS_VALUES[axis])
    others = data.draw(st.lists(AXIS_VALUES[axis], min_size=2, max_size=3, unique=True))
    text = document(experiment("a"), experiment("b", product={axis: others}))
    apply_override(text, f"{axis}={value}")
    cells = [c for e in parse(text, "f", "n").experiments for c in e.cells]
    assert len(cells) == 2
    assert {getattr(c, axis) for c in cells} == {value}


@pytest.mark.parametrize(
    ("assignment", "read"),
    [
        ("epochs=3", lambda s: [e.cells[0].epochs for e in s.experiments] == [3, 3]),
        (
            "norm=layer",
            lambda s: {e.cells[0].norm.name for e in s.experiments} == {"layer"},
        ),
        (
            'norm={name="group", groups=2}',
            lambda s: s.experiments[0].cells[0].norm.label == "group(groups=2)",
        ),
        ("seeds=[4, 9]", lambda s: [e.seeds for e in s.experiments] == [(4, 9), (4, 9)]),
        (" window = 1 ", lambda s: [e.window for e in s.experiments] == [1, 1]),
        ("protocol.alpha=0.01", lambda s: s.alpha == 0.01),
        ("protocol.title=a = b", lambda s: s.title == "a = b"),
        ("defaults.init=he", lambda s: s.experiments[0].cells[0].init == "he"),
        (
            "experiment.b.product.batch_size=[16]",
            lambda s: [len(e.cells) for e in s.experiments] == [1, 1],
        ),
        ("experiment.a.seeds=5", lambda s: [len(e.seeds) for e in s.experiments] == [5, 1]),
        ("experiment.a.norm=none", lambda s: s.experiments[0].cells[0].norm.name == "none"),
    ],
)
def test_what_an_override_changes(assignment: str, read: Any) -> None:
    text = document(
        experiment("a", epochs=2), experiment("b", epochs=2, product={"batch_size": [2, 4]})
    )
    assert not read(parse(text, "f", "n"))
    apply_override(text, assignment)
    assert read(parse(text, "f", "n"))


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("epochs", "key=value"),
        ("=3", "key=value"),
        ("a..b=3", "key=value"),
        ("epoch=3", "did you mean 'epochs'?"),
        ("zzzz=3", "known: dataset"),
        ("experiment.c.epochs=3", "there is no experiment 'c'; the protocol has a, b"),
        ("experiment.a=3", "experiment is not a table"),
        ("protocol.title.x=3", "is not a table"),
        ("protocol.title.x.y=3", "is not inside a table"),
    ],
)
def test_a_wrong_override_says_what_is_wrong(assignment: str, said: str) -> None:
    text = document(experiment("a"), experiment("b"), title="t")
    with pytest.raises(UsageError) as caught:
        apply_override(text, assignment)
    assert said in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("broken", [{"experiment": 5}, {"protocol": "x"}, {"defaults": [1]}])
@pytest.mark.parametrize("assignment", ["epochs=2", "seeds=2", "experiment.one.epochs=2"])
def test_overriding_a_broken_file_names_the_fault(broken: dict[str, Any], assignment: str) -> None:
    def overridden() -> Study:
        text = {**document(), **broken}
        apply_override(text, assignment)
        return parse(text, "f", "n")

    with pytest.raises(UsageError) as caught:
        overridden()
    if isinstance(caught.value, ProtocolError):
        assert next(iter(broken)) in {fault.path for fault in caught.value.faults}
    else:
        assert "there is no experiment 'one'" in str(caught.value)


def test_overrides_and_seeds_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "My Study.toml"
    path.write_text(ONE, encoding="utf-8")
    found = load_protocol(path, ["epochs=4", "experiment.one.init=he"], seeds=3)
    assert found.name == "My Study"
    assert found.experiments[0].seeds == (0, 1, 2)
    assert (found.experiments[0].cells[0].epochs, found.experiments[0].cells[0].init) == (4, "he")
    with pytest.raises(UsageError, match="at least 1"):
        load_protocol(path, seeds=0)
    with pytest.raises(ProtocolError, match="with overrides"):
        load_protocol(path, ["epochs=0"])


# -- files -------------------------------------------------------------------------------------


def test_bundled_protocols_are_found_by_name_and_valid() -> None:
    assert "quick" in bundled_protocols()
    for name, path in bundled_protocols().items():
        assert find(name) == find(f"protocols/{name}.toml").resolve() or path.exists()
        found = load_protocol(name)
        assert found.name == name
        assert expand(found)


def test_the_quick_protocol_is_the_declared_one() -> None:
    found = load_protocol("quick")
    assert all(len(e.seeds) >= 12 for e in found.experiments)
    mlp = next(e for e in found.experiments if e.cells[0].model.name == "mlp")
    assert {c.batch_size for c in mlp.cells} == {2, 8, 32, 128}
    assert {c.norm.name for c in mlp.cells} >= {"none", "batch", "layer", "group"}
    assert {c.epochs for c in mlp.cells} == {5}


def test_a_protocol_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match=r"did you mean mine\.toml"):
        find(tmp_path / "mime.toml")
    with pytest.raises(UsageError, match=r"bundled protocols, usable by name: .*quick"):
        find("no-such-protocol-at-all")
    with pytest.raises(UsageError, match="is a folder"):
        find(tmp_path)


def test_a_path_is_preferred_to_a_bundled_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quick").write_text("", encoding="utf-8")
    assert find("quick").resolve() == (tmp_path / "quick").resolve()


def test_every_norm_may_be_named_or_spelled_out() -> None:
    for name in NORMS.complete:
        entry = NORMS[name]
        spelled = {"name": name, **{k: p.default for k, p in entry.params.items()}}
        named = study(experiment(norm=name)).experiments[0].cells[0]
        assert named == study(experiment(norm=spelled)).experiments[0].cells[0]


def test_toml_and_its_document_mean_the_same(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(ONE, encoding="utf-8")
    read = load_protocol(path)
    assert read.root == str(tmp_path)
    assert read.model_copy(update={"file": ""}) == parse(tomllib.loads(ONE), "anything", "p")
    cells = load_protocol(path).experiments[0].cells
    assert isinstance(cells[0].learning_rate, float)
    assert cells[2].norm.params["momentum"] == 1.0
    assert cells[0].sites == ("fc2",)


def test_probes_are_a_list_a_name_or_all_of_them():
    assert cell().probes == ()
    assert cell(probes="drift").probes == ("drift",)
    assert cell(probes=["drift", "weights"]).probes == ("weights", "drift")
    assert cell(probes="all").probes == tuple(PROBES)
    levels = study(experiment(product={"probes": [[], "drift", "all"]})).experiments[0].cells
    assert [c.probes for c in levels] == [(), ("drift",), tuple(PROBES)]
