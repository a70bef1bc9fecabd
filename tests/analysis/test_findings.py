"""What is found without a claim: the tables agree with the statistics, and with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from normbench.analysis.tables import Analysis, analyse
from normbench.stats.automatic import Budget, decided, within_from
from normbench.stats.smallbatch import inverse_batch_contrast
from tests.analysis.made import document, noise, write

LEVEL = {"none": 0.80, "batch": 0.94, "layer": 0.90, "group": 0.898}
SIZES = [2, 8, 32]
MARGIN = {"id": "flat", "kind": "equivalence", "a": "layer", "reference": {"batch_size": 32},
          "margin": 0.02, "endpoint": {"kind": "final", "metric": "val_error", "window": 1,
                                       "failure_score": 0.9}}  # fmt: skip


def accuracy(run: Any) -> float:
    loss = 0.4 / run.cell.batch_size if run.cell.norm.name == "batch" else 0.0
    return LEVEL[run.cell.norm.name] - loss + noise(run, 0.02)


def made(folder: Path, *claims: Any, seeds: int = 12, **more: Any) -> Analysis:
    doc = document(claim=list(claims))
    doc["protocol"] |= {"reference": "layer", "seeds": seeds}
    doc["experiment"][0]["product"] |= more
    if "epochs" in more:
        doc["defaults"].pop("epochs")
    return analyse(write(folder, doc, accuracy))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    return made(tmp_path_factory.mktemp("made"), MARGIN)


def errors(found: Analysis, norm: str, setting: str = "") -> np.ndarray:
    own = found["final"]
    own = own[(own["norm"] == norm) & (own["setting"] == setting)]
    return own.pivot_table(index="seed", columns="batch_size", values="error").to_numpy()


def test_pairs_are_decided_at_half_of_the_rate(found: Analysis) -> None:
    pairs = found["pairs"]
    place = {size: i for i, size in enumerate(SIZES)}
    d = np.stack(
        [
            errors(found, row["other"])[:, place[row["batch_size"]]]
            - errors(found, row["norm"])[:, place[row["batch_size"]]]
            for row in pairs.to_dict("records")
        ],
        axis=1,
    )
    signs = pairs["finding"].map({"better": 1, "worse": -1, "undecided": 0})
    assert signs.tolist() == decided(d, Budget.of().pairs).tolist()
    assert {-1, 0, 1} == set(signs)
    assert set(pairs["level"]) == {0.95}


def test_degradations_are_one_family_at_a_quarter_of_the_rate(found: Analysis) -> None:
    table = found["degradation"].set_index("norm")
    reference = errors(found, "layer")
    results = {n: inverse_batch_contrast(errors(found, n), reference, SIZES) for n in table.index}
    columns = np.array([result.values for result in results.values()]).T
    signs = table["finding"].map({"worse": 1, "better": -1, "undecided": 0})
    assert signs.tolist() == decided(columns, Budget.of().contrasts).tolist()
    assert table.loc["batch", "finding"] == "worse"
    assert table.loc["batch", "adjusted_p"] >= table.loc["batch", "p"]


def test_a_crossover_is_read_off_the_pairs_and_off_the_declared_margin(found: Analysis) -> None:
    row = found["crossover"].set_index("norm").loc["batch"]
    extra = errors(found, "batch") - errors(found, "layer")
    level = Budget.of().sequence(4)
    assert row["within_from"] == within_from(extra, SIZES, 0.02, alpha=level) == 32
    pairs = found["pairs"]
    own = pairs[(pairs["norm"] == "batch") & (pairs["other"] == "layer")]
    worse = own.set_index("batch_size")["finding"] == "worse"
    assert worse.tolist() == [True, False, False]
    assert row["worse_up_to"] == 2
    quiet = found["crossover"].set_index("norm").loc["group"]
    assert np.isnan([quiet["worse_up_to"], quiet["within_from"]]).all()


def test_without_a_declared_margin_nothing_is_said_of_it(tmp_path: Path) -> None:
    row = made(tmp_path)["crossover"].set_index("norm").loc["batch"]
    assert row["worse_up_to"] == 2
    assert np.isnan([row["within_from"], row["margin"]]).all()


def test_settings_share_the_rate_of_their_experiment(tmp_path: Path, found: Analysis) -> None:
    two = made(tmp_path, epochs=[2, 3])
    for setting, own in two["pairs"].groupby("setting"):
        better = own["finding"] != "undecided"
        assert better.any()
        assert (own.loc[better, "adjusted_p"] <= 0.0125).all(), setting
    assert (found["pairs"].query("finding != 'undecided'")["adjusted_p"] <= 0.025).all()


@pytest.mark.parametrize("seeds", [6, 7, 8])
def test_below_eight_seeds_nothing_is_decided(tmp_path: Path, seeds: int) -> None:
    found = made(tmp_path, MARGIN, seeds=seeds)
    few = seeds < 8
    for table in ("pairs", "degradation"):
        assert (set(found[table]["finding"]) == {"undecided"}) == few
        assert found[table]["caveats"].map(lambda kinds: "few-seeds" in kinds).eq(few).all()
    located = found["crossover"][["worse_up_to", "within_from"]]
    assert located.isna().all(axis=None) == few


def test_a_norm_without_all_sizes_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    doc = document()
    doc["protocol"] |= {"reference": "layer", "seeds": 12}

    def status(run: Any) -> str:
        lost = run.cell.norm.name == "group" and run.cell.batch_size == 8
        return "missing" if lost else "finished"

    found = analyse(write(tmp_path, doc, accuracy, status=status))
    table: pd.DataFrame = found["degradation"].set_index("norm")
    assert table.loc["group", "refusal"] == "a batch size has no runs for one of the norms"
    assert table.loc["batch", "finding"] == "worse"
