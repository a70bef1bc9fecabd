"""What was declared before the first run, what changed since, and what was known then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from normbench.errors import ResultsError, WorkError
from normbench.protocol.declared import data_key
from normbench.protocol.load import parse
from normbench.protocol.study import Study
from normbench.results import looked
from normbench.results.looked import read_looks, record_look
from normbench.results.registration import (
    claim_hashes,
    deviations,
    register_claims,
    upcoming,
)
from tests.analysis.made import document
from tests.protocol.test_declared import claims


def study(seeds: int = 10, rate: float = 0.1, norms: tuple[str, ...] = (), **claim: Any) -> Study:
    doc = document(claim=claims(**claim), family=[{"id": "apart"}])
    doc["protocol"]["seeds"] = seeds
    doc["defaults"] = doc["defaults"] | {"learning_rate": rate}
    doc["experiment"][0]["product"]["norm"] += norms
    return parse(doc, "made.toml", "made")


def test_other_code_or_data_of_a_claims_cells_make_it_exploratory(tmp_path: Path) -> None:
    cell = study().experiments[0].cells[0]
    data = data_key(cell.dataset.model_dump(mode="json"))
    first = {"code of the norm layer": "mine 1.0 (aa)", data: "11", "code of the norm other": "x"}
    register_claims(tmp_path, study(), basis=first)
    assert not deviations(tmp_path, study()).claims
    other = first | {"code of the norm other": "y"}
    register_claims(tmp_path, study(), 24, basis=other)
    found = deviations(tmp_path, study())
    assert not found.claims  # no claim rests on it
    assert "code of the norm other: x → y" in found.lines[0]
    changes = (({"code of the norm layer": "mine 1.0 (bb)"}, "c"), ({data: "22"}, "c, d"))
    for changed, touched in changes:
        (line,) = upcoming(tmp_path, study(), other | changed)
        assert line.endswith(f"exploratory from now on: {touched}")
        register_claims(tmp_path, study(), 24, basis=other | changed)
        assert set(deviations(tmp_path, study()).claims) == set(touched.split(", "))


def test_what_is_as_registered_is_confirmatory(tmp_path: Path) -> None:
    register_claims(tmp_path, study())
    before = (tmp_path / "registration.json").read_bytes()
    register_claims(tmp_path, study(text="other words"), 120)
    assert (tmp_path / "registration.json").read_bytes() == before
    found = deviations(tmp_path, study())
    assert (found.claims, found.lines) == ({}, ())


@pytest.mark.parametrize(
    ("present", "line", "touched"),
    [
        (study(rate=0.2), "one: learning_rate: 0.1 → 0.2", {"c", "d"}),
        (study(seeds=7), "one: seeds left out: 7–9", {"c", "d"}),
        (study(seeds=12), "one: seeds added: 10–11", {"c", "d"}),
        (study(norms=("rms", "instance")), "one: norm: rms(eps=1e-05, affine=True)", set()),
        (study(margin=0.01), "claim c: margin: 0 → 0.01", {"c"}),
    ],
)
def test_a_later_change_is_listed_and_touches_its_claims_alone(tmp_path, present, line, touched):
    register_claims(tmp_path, study())
    register_claims(tmp_path, present, 24)
    found = deviations(tmp_path, present)
    assert set(found.claims) == touched
    (said,) = found.lines
    assert line in said
    assert "24 runs finished, before any look" in said
    assert ("exploratory since: c" in said) == ("c" in touched)
    assert all("24 runs finished, before any look" in why for why in found.claims.values())
    register_claims(tmp_path, present, 48)  # noted once, with what was known at first
    assert deviations(tmp_path, present) == found


def test_a_change_before_anything_was_known_is_registered_in_its_place(tmp_path: Path) -> None:
    register_claims(tmp_path, study())
    register_claims(tmp_path, study(rate=0.2))
    found = deviations(tmp_path, study(rate=0.2))
    assert found.claims == {}
    (said,) = found.lines
    assert "learning_rate: 0.1 → 0.2; registered anew" in said
    register_claims(tmp_path, study(), 3)
    assert set(deviations(tmp_path, study()).claims) == {"c", "d"}


def test_seeds_added_after_a_look_are_marked_as_such(tmp_path: Path) -> None:
    register_claims(tmp_path, study())
    register_claims(tmp_path, study(seeds=11), 120)
    record_look(tmp_path, "report", 132, 132)
    register_claims(tmp_path, study(seeds=12), 132)
    register_claims(tmp_path, study(seeds=12, margin=0.01), 144)
    found = deviations(tmp_path, study(seeds=12, margin=0.01))
    assert "seeds added after a look: 10–11 (132 runs finished)" in found.claims["c"]
    assert "margin: 0 → 0.01 (144 runs finished, after a look" in found.claims["c"]
    assert [line.count("after a look") for line in found.lines] == [0, 1, 1]
    record_look(tmp_path, "report", 144, 144)
    # seeds that were there before the look are not marked because of a later change
    other = tmp_path / "other"
    other.mkdir()
    register_claims(other, study())
    register_claims(other, study(seeds=12), 120)
    record_look(other, "check", 144, 144)
    register_claims(other, study(seeds=12, margin=0.01), 144)
    why = deviations(other, study(seeds=12, margin=0.01)).claims
    assert "seeds added: 10–11 (120 runs finished, before any look)" in why["c"]


def test_a_change_that_is_taken_back_is_told_and_leaves_claims_as_declared(tmp_path: Path) -> None:
    register_claims(tmp_path, study())
    register_claims(tmp_path, study(rate=0.2), 10)
    register_claims(tmp_path, study(), 20)
    found = deviations(tmp_path, study())
    assert found.claims == {}
    assert "taken back: one: learning_rate: 0.1 → 0.2" in found.lines[-1]


def test_a_plan_tells_what_a_run_would_note_and_writes_nothing(tmp_path: Path) -> None:
    assert upcoming(tmp_path, study()) == []
    register_claims(tmp_path, study())
    before = (tmp_path / "registration.json").read_bytes()
    (said,) = upcoming(tmp_path, study(seeds=12))
    assert "seeds added: 10–11" in said
    assert "exploratory from now on: c, d" in said
    assert upcoming(tmp_path, study()) == []
    assert (tmp_path / "registration.json").read_bytes() == before
    register_claims(tmp_path, study(seeds=12), 3)
    assert upcoming(tmp_path, study(seeds=12)) == []


@pytest.mark.parametrize("finished", [5, None])
def test_what_was_registered_only_after_runs_is_exploratory(tmp_path, finished):
    register_claims(tmp_path, study(), finished)
    found = deviations(tmp_path, study())
    assert set(found.claims) == {"c", "d"}
    assert "had finished" in found.claims["c"]
    empty = tmp_path / "none"
    assert set(deviations(empty, study()).claims) == {"c", "d"}


def _first_version(folder: Path, declared: Study) -> None:
    content = {"version": 1, "registered": "2026-01-01", "claims": claim_hashes(declared)}
    (folder / "registration.json").write_text(json.dumps(content), encoding="utf-8")


def test_a_registration_of_the_first_version_stays_readable_and_says_what_it_is(tmp_path):
    _first_version(tmp_path, study())
    found = deviations(tmp_path, study(seeds=12))
    assert found.claims == {}
    assert "neither seeds nor axes" in found.lines[0]
    assert set(deviations(tmp_path, study(margin=0.01)).claims) == {"c"}
    # the next run takes the protocol of the last one as what was declared
    register_claims(tmp_path, study(seeds=12), 40, before=study())
    found = deviations(tmp_path, study(seeds=12))
    assert set(found.claims) == {"c", "d"}
    assert "2026-01-01" in (tmp_path / "registration.json").read_text(encoding="utf-8")
    assert len(found.lines) == 2
    # a claim that was edited under the first version stays exploratory
    _first_version(tmp_path, study())
    register_claims(tmp_path, study(margin=0.01), 40, before=study(margin=0.01))
    assert set(deviations(tmp_path, study(margin=0.01)).claims) == {"c"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 2}', '{"version": 2, "study": {}}'])
def test_a_registration_that_cannot_be_read_refuses(tmp_path, text):
    register_claims(tmp_path, study())
    path = tmp_path / "registration.json"
    path.write_text(text, encoding="utf-8")
    for call in (deviations, upcoming, register_claims):
        with pytest.raises(ResultsError, match="registration"):
            call(tmp_path, study())
    assert path.read_text(encoding="utf-8") == text


def test_looks_are_noted_once_for_each_state(tmp_path: Path) -> None:
    record_look(tmp_path, "report", 0, 12)
    assert read_looks(tmp_path) == []
    for finished in (6, 6, 12, 12):
        record_look(tmp_path, "report", finished, 12)
    assert [look["finished"] for look in read_looks(tmp_path)] == [6, 12]
    (tmp_path / "looks.json").write_text("{", encoding="utf-8")
    for call in (lambda: read_looks(tmp_path), lambda: register_claims(tmp_path, study())):
        with pytest.raises(ResultsError, match=r"looks\.json is damaged"):
            call()


def test_a_folder_that_may_not_be_written_can_be_looked_at(tmp_path, monkeypatch):
    def refuse(path: Path, content: dict[str, Any]) -> None:
        raise WorkError("read-only")

    monkeypatch.setattr(looked, "write_object", refuse)
    record_look(tmp_path, "report", 6, 12)
    assert read_looks(tmp_path) == []
