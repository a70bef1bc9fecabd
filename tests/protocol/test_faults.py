"""Bad protocols: every fault is named with its path, value, rule and nearest known name."""

from __future__ import annotations

import time
import tomllib
from typing import Any

import pytest

from tests.builders import document, experiment, study


@pytest.mark.parametrize(
    ("table", "path", "shown", "rule", "hint"),
    [
        (experiment(norm="bath"), "norm", "bath", "unknown norm", "'batch'"),
        (experiment(norm={"name": "grop"}), "norm", "grop", "unknown norm", "'group'"),
        (experiment(model="mlpp"), "model", "mlpp", "unknown model", "'mlp'"),
        (experiment(dataset="digit"), "dataset", "digit", "unknown data set", "'digits'"),
        (experiment(optimizer="sgdd"), "optimizer", "sgdd", "unknown optimizer", "'sgd'"),
        (experiment(norm=3), "norm", "3", "a name or a table", ""),
        (experiment(norm={"eps": 0.1}), "norm", "eps", "needs the key 'name'", ""),
        (experiment(epoch=3), "epoch", "3", "unknown key 'epoch'", "'epochs'"),
        (
            experiment(norm={"name": "group", "group": 4}),
            "norm.group", "4", "unknown key 'group'", "'groups'",
        ),
        (experiment(norm={"name": "none", "eps": 1e-5}), "norm.eps", "1e-05", "unknown key", ""),
        (
            experiment(norm={"name": "batch", "momentum": 1.5}),
            "norm.momentum", "1.5", "at most 1", "",
        ),
        (experiment(norm={"name": "batch", "eps": 0.0}), "norm.eps", "0.0", "greater than 0", ""),
        (
            experiment(norm={"name": "batch", "affine": 1}),
            "norm.affine", "1", "true or false", "",
        ),
        (
            experiment(norm={"name": "group", "groups": True}),
            "norm.groups", "True", "whole number", "",
        ),
        (experiment(batch_size=0), "batch_size", "0", "at least 1", ""),
        (experiment(batch_size=8.0), "batch_size", "8.0", "whole number", ""),
        (experiment(batch_size="8"), "batch_size", "'8'", "whole number", ""),
        (experiment(batch_size=True), "batch_size", "True", "whole number", ""),
        (experiment(learning_rate=0), "learning_rate", "0", "greater than 0", ""),
        (experiment(learning_rate=-1e-3), "learning_rate", "-0.001", "greater than 0", ""),
        (experiment(learning_rate=float("nan")), "learning_rate", "nan", "finite number", ""),
        (experiment(learning_rate=float("inf")), "learning_rate", "inf", "finite number", ""),
        (experiment(lr_scaling="liner"), "lr_scaling", "liner", "one of none, linear", "'linear'"),
        (experiment(position="before"), "position", "before", "one of pre, post", ""),
        (experiment(sites=[]), "sites", "[]", "must not be empty", ""),
        (experiment(sites="frist-two"), "sites", "frist-two", "one of all, first-two", "first-two"),
        (experiment(sites={"fc1": 1}), "sites", "fc1", "one of all, first-two", ""),
        (experiment(sites=["fc1", 2]), "sites[1]", "2", "text in quotes", ""),
        (experiment(validation_fraction=1.0), "validation_fraction", "1.0", "less than 1", ""),
        (experiment(lr_reference_batch=10**30), "lr_reference_batch", "1000", "at most", ""),
        (experiment(statistics_samples=10**30), "statistics_samples", "1000", "at most", ""),
        (experiment(train_size=10**30), "train_size", "1000", "at most", ""),
        (experiment(probes=["weigths"]), "probes[0]", "weigths", "unknown probe", "'weights'"),
        (experiment(probes="lanscape"), "probes", "lanscape", "unknown probe", "'landscape'"),
        (experiment(probes=3), "probes", "3", "unknown probe", "known: all, weights"),
        (experiment(probes=["drift", "drift"]), "probes", "drift", "listed more than once", ""),
        (experiment(name="Über"), "name", "Über", "lower-case letters", ""),
        (experiment(seeds=[]), "seeds", "[]", "must not be empty", ""),
        (experiment(seeds=[4, 7, 4]), "seeds", "[4, 7, 4]", "4 is listed more than once", ""),
        (experiment(seeds=[1, -1]), "seeds[1]", "-1", "at least 0", ""),
        (experiment(seeds=[0, 2**63]), "seeds[1]", str(2**63), "at most", ""),
        (experiment(seeds=True), "seeds", "True", "a number of seeds, or a list", ""),
        (experiment(seeds="20"), "seeds", "'20'", "a number of seeds, or a list", ""),
        (experiment(seeds=0), "seeds", "0", "between 1 and 10,000", ""),
        (experiment(thresholds=[90]), "thresholds", "90", "above 0 and not above 1", "0.9"),
        (experiment(thresholds=[0.0]), "thresholds", "0.0", "above 0 and not above 1", ""),
        (experiment(thresholds=[0.5, 0.5]), "thresholds", "0.5", "more than once", ""),
        (experiment(metric="loss", thresholds=[-1]), "thresholds", "-1", "must be above 0", ""),
        (experiment(metric="error"), "metric", "error", "one of accuracy, loss", ""),
        (experiment(window=0), "window", "0", "at least 1", ""),
        (experiment(reference="layer"), "reference", "layer", "a norm of this experiment", "batch"),
        (experiment(product={"norm": []}), "product.norm", "[]", "must not be empty", ""),
        (experiment(product={"norm": "batch"}), "product.norm", "batch", "must be a list", ""),
        (
            experiment(product={"norm": ["batch", "laier"]}),
            "product.norm[1]", "laier", "unknown norm", "'layer'",
        ),
        (
            experiment(product={"norm": [{"name": "batch", "epss": 1}]}),
            "product.norm[0].epss", "1", "unknown key 'epss'", "'eps'",
        ),
        (experiment(product={"nrom": ["none"]}), "product.nrom", "none", "unknown key", "'norm'"),
        (
            experiment(product={"batch_size": [2, 8, 2]}),
            "product.batch_size", "[2, 8, 2]", "2 is listed more than once", "",
        ),
        (
            experiment(product={"norm": ["group", {"name": "group", "groups": 8}]}),
            "product.norm", "group", "more than once", "",
        ),
        (
            experiment(batch_size=8, product={"batch_size": [2, 4]}),
            "product.batch_size", "", "set once", "keep one",
        ),
        (
            experiment(product={"epochs": [1, 2]}, zip={"epochs": [1, 2]}),
            "zip.epochs", "", "product.epochs and zip.epochs", "keep one",
        ),
        (
            experiment(zip={"batch_size": [2, 4], "epochs": [1, 2, 3]}),
            "zip", "", "batch_size has 2, epochs has 3", "equally long",
        ),
        (
            experiment(zip={"batch_size": [2, 2], "epochs": [1, 1]}),
            "zip", "", "same cell", "remove",
        ),
    ],
)  # fmt: skip
def test_a_fault_of_an_experiment_is_named(
    faults: Any, table: dict[str, Any], path: str, shown: str, rule: str, hint: str
) -> None:
    found = faults(document(table))
    at = f"experiment[0].{path}"
    assert at in found, f"the faults are at {list(found)}"
    assert shown in found[at].value
    assert rule in found[at].rule
    assert hint in found[at].hint


@pytest.mark.parametrize("axis", ["dataset", "model", "norm", "batch_size", "epochs"])
def test_a_required_axis_may_be_missing_in_one_experiment_only(faults: Any, axis: str) -> None:
    table = experiment("two")
    del table[axis]
    found = faults(document(experiment(), table))
    assert list(found) == [f"experiment[1].{axis}"]
    assert "no default" in found[f"experiment[1].{axis}"].rule


@pytest.mark.parametrize(
    ("top", "path", "rule", "hint"),
    [
        ({"protocol": {"seeds": 1, "alpa": 0.1}}, "protocol.alpa", "unknown key", "'alpha'"),
        ({"protocol": {"seeds": 1, "epochs": 2}}, "protocol.epochs", "unknown key", "an axis"),
        ({"protocol": {"seeds": 1, "alpha": 0.5}}, "protocol.alpha", "less than 0.5", ""),
        ({"protocol": {"seeds": 1, "reference": "x"}}, "protocol.reference", "one of the", "batch"),
        ({"defaults": {"seeds": 3}}, "defaults.seeds", "unknown key", "belongs to [protocol]"),
        ({"defaults": {"epocks": 3}}, "defaults.epocks", "unknown key", "'epochs'"),
        ({"default": {}}, "default", "unknown key", "'defaults'"),
        ({"protocol": 3}, "protocol", "must be a table", ""),
        ({"protocol": {}}, "experiment[0].seeds", "seeds are not set", "seeds = 20"),
        ({"experiment": []}, "experiment", "must not be empty", ""),
        ({"experiment": {"name": "one"}}, "experiment", "must be a list", ""),
        ({"experiment": ["one"]}, "experiment[0]", "must be a table", ""),
        ({"experiment": [{}]}, "experiment[0].name", "required", ""),
    ],
)
def test_a_fault_outside_an_experiment_is_named(
    faults: Any, top: dict[str, Any], path: str, rule: str, hint: str
) -> None:
    found = faults({**document(), **top})
    assert path in found, f"the faults are at {list(found)}"
    assert rule in found[path].rule
    assert hint in found[path].hint


def test_a_file_without_experiments_says_so(faults: Any) -> None:
    assert "required" in faults({"protocol": {"seeds": 1}})["experiment"].rule


def test_two_experiments_of_one_name(faults: Any) -> None:
    found = faults(document(experiment("same"), experiment("same")))
    assert "different names" in found["experiment[1].name"].rule


def test_all_faults_of_a_file_are_reported_together(faults: Any) -> None:
    text = """
        [protocol]
        seeds = [3, 3]
        alpa = 0.1
        [defaults]
        dataset = "digit"
        learning_rate = -1
        [[experiment]]
        name = "one"
        model = "mlp"
        epochs = 2.5
        lr_scaling = "quadratic"
        [experiment.product]
        norm = ["none", "bacth", { name = "group", eps = 2 }]
        batch_size = [4, "8"]
    """
    found = faults(tomllib.loads(text))
    assert set(found) == {
        "protocol.seeds",
        "protocol.alpa",
        "defaults.dataset",
        "defaults.learning_rate",
        "experiment[0].epochs",
        "experiment[0].lr_scaling",
        "experiment[0].product.norm[1]",
        "experiment[0].product.norm[2].eps",
        "experiment[0].product.batch_size[1]",
    }
    assert found["experiment[0].product.norm[1]"].hint.startswith("did you mean 'batch'?")


def test_all_faults_of_how_the_parts_fit_are_reported_together(faults: Any) -> None:
    first = experiment("one", thresholds=[70], product={"epochs": [1]}, epochs=2)
    second = experiment("two", zip={"batch_size": [1, 2], "norm": ["none"]})
    del second["epochs"]
    third = experiment("one", reference="layer")
    found = faults(document(first, second, third))
    assert set(found) == {
        "experiment[0].thresholds",
        "experiment[0].product.epochs",
        "experiment[1].zip",
        "experiment[1].epochs",
        "experiment[2].name",
        "experiment[2].reference",
    }


@pytest.mark.parametrize("seeds", [10_001, 10**12, 10**400])
def test_absurd_numbers_of_seeds_are_refused_at_once(faults: Any, seeds: int) -> None:
    started = time.perf_counter()
    assert "between 1 and 10,000" in faults(document(seeds=seeds))["protocol.seeds"].rule
    assert time.perf_counter() - started < 1.0


def test_as_many_seeds_as_allowed_are_read_quickly() -> None:
    started = time.perf_counter()
    assert len(study(seeds=list(range(10_000))).experiments[0].seeds) == 10_000
    assert time.perf_counter() - started < 0.5


def test_a_huge_product_is_refused_before_it_is_made(faults: Any) -> None:
    sizes, rates = list(range(1, 10_001)), [0.0001 * i for i in range(1, 10_001)]
    table = experiment(product={"batch_size": sizes, "learning_rate": rates})
    started = time.perf_counter()
    found = faults(document(table, seeds=10_000))
    assert time.perf_counter() - started < 2.0
    assert list(found) == ["experiment[0]"]
    assert "1,000,000,000,000 runs" in found["experiment[0]"].rule


def test_many_experiments_are_counted_together_before_they_are_made(faults: Any) -> None:
    sizes = list(range(1, 10_001))
    tables = [experiment(f"e{i}", product={"batch_size": sizes}) for i in range(101)]
    started = time.perf_counter()
    found = faults(document(*tables))
    assert time.perf_counter() - started < 10.0
    assert list(found) == ["experiment"]
    assert "1,010,000 runs" in found["experiment"].rule


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[protocol]\nseeds = 3\nalpha = = 2\n", "line 3"),
        (b"[protocol]\nseeds = 3\nseeds = 4\n", "line 3"),
        (b'[protocol]\ntitle = "open\n', "line 2"),
        (b"[protocol]\ntitle = \"caf\xe9\"\n", "byte 23"),
        (b"\xff\xfe[\x00p\x00", "UTF-8"),
        (b"seeds = " + b"9" * 5000, "digits"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
        (b"", "experiment: this key is required"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_toml_says_where(refused: Any, content: bytes, said: str) -> None:
    message = refused(content)
    assert "bad.toml: 1 fault" in message
    assert said in message


def test_a_long_value_is_shortened(faults: Any) -> None:
    fault = faults(document(experiment(position="x" * 10_000)))["experiment[0].position"]
    assert len(fault.value) <= 80
