"""A window is no longer than the runs that it is applied to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from normbench.errors import ProtocolError
from normbench.protocol.load import bundled_protocols, load_protocol, parse
from tests.analysis.made import document
from tests.protocol.conftest import Faults

CLAIM = {"id": "c", "kind": "superiority", "a": "layer", "b": "batch"}


def made(window: int | None = None, end: dict[str, Any] | None = None, **axes: Any) -> Any:
    doc = document()
    doc["protocol"] = {"name": "made", "seeds": 6} | ({"window": window} if window else {})
    doc["defaults"] = {k: v for k, v in doc["defaults"].items() if k != "epochs"} | axes
    if end is not None:
        doc["claim"] = [CLAIM | {"endpoint": {"failure_score": 0.9} | end}]
    return doc


@pytest.mark.parametrize(
    ("axes", "most"),
    [
        ({"epochs": 2}, 2),
        ({"epochs": 1}, 1),
        ({"epochs": 1, "evaluations_per_epoch": 2}, 2),
        ({"epochs": 8, "evaluations": 2}, 2),
        ({"budget_steps": 2}, 2),
        ({"budget_samples": 2}, 1),
    ],
)
def test_the_default_is_what_the_runs_have_and_more_is_refused(
    faults: Faults, axes: dict[str, Any], most: int
) -> None:
    found = parse(made(end={}, **axes), "made.toml", "made")
    assert (found.experiments[0].window, found.claims[0].endpoint.window) == (most, most)
    parse(made(window=most, end={"window": most}, **axes), "made.toml", "made")
    said = faults(made(window=most + 1, end={"window": most + 1}, **axes))
    assert set(said) == {"protocol.window", "claim[0].endpoint.window"}
    for fault in said.values():
        assert fault.value == str(most + 1)
        assert f"has {most} evaluation" in fault.rule
        assert f"window = {most}" in fault.hint


def test_the_default_stays_three_where_there_are_more() -> None:
    found = parse(made(end={}, epochs=7), "made.toml", "made")
    assert (found.experiments[0].window, found.claims[0].endpoint.window) == (3, 3)


def test_the_shortest_run_of_an_experiment_decides(faults: Faults) -> None:
    doc = made(window=3)
    doc["experiment"][0]["product"]["epochs"] = [2, 9]
    assert "has 2 evaluations" in faults(doc)["protocol.window"].rule
    del doc["protocol"]["window"]
    doc["experiment"][0]["window"] = 3
    assert set(faults(doc)) == {"experiment[0].window"}
    del doc["experiment"][0]["window"]
    assert parse(doc, "made.toml", "made").experiments[0].window == 2


def test_endpoints_that_average_nothing_have_no_window_to_refuse() -> None:
    parse(made(end={"kind": "best", "window": 9}, epochs=2), "made.toml", "made")


def test_overrides_of_the_budget_shorten_and_say_so(tmp_path: Path) -> None:
    path = tmp_path / "made.toml"
    path.write_bytes(tomli_w.dumps(made(window=3, end={"window": 4}, epochs=5)).encode())
    assert load_protocol(path).warnings == ()
    for override in ("epochs=2", "budget_steps=2", "evaluations=2", "experiment.one.epochs=2"):
        found = load_protocol(path, [override])
        assert (found.experiments[0].window, found.claims[0].endpoint.window) == (2, 2)
        assert [w.partition(":")[0] for w in found.warnings] == [
            "protocol.window",
            "claim[0].endpoint.window",
        ]
        assert "warnings" not in found.model_dump()
    with pytest.raises(ProtocolError, match="has 2 evaluations"):
        load_protocol(path, ["epochs=2", "window=3"])
    with pytest.raises(ProtocolError, match="has 5 evaluations"):
        load_protocol(path, ["window=6"])


def test_bundled_protocols_fit_their_runs() -> None:
    for path in bundled_protocols().values():
        for series in load_protocol(path).experiments:
            assert series.window <= min(cell.most_evaluations for cell in series.cells)
