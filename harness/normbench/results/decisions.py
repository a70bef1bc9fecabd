"""The files of decisions and of registered claims in a results folder."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from normbench.errors import NewerResultsError
from normbench.plan.decisions import Decisions
from normbench.plan.spec import digest
from normbench.protocol.study import Study
from normbench.results.files import damaged, read_object, write_object
from normbench.results.provenance import now

DECISIONS_VERSION = 1


def _read(
    path: Path, check: Callable[[dict[str, Any]], None], without: str
) -> dict[str, Any] | None:
    """The content of a file, or None where there is none.

    ``check`` raises where something is missing in it; ``without`` says what moving it away means.
    """
    content = read_object(path, without)
    if content is None:
        return None
    try:
        version = int(content["version"])
        if version <= DECISIONS_VERSION:
            check(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(path, error, without) from None
    if version > DECISIONS_VERSION:
        raise NewerResultsError(
            f"{path} was written by a newer normbench (version {version}; this one reads up to "
            f"{DECISIONS_VERSION}); upgrade normbench to read it"
        )
    return content


def _check_decisions(content: dict[str, Any]) -> None:
    for kind, value in (("rates", "learning_rate"), ("thresholds", "threshold")):
        for choice in content[kind].values():
            float(choice[value])


def _check_registration(content: dict[str, Any]) -> None:
    content["claims"].keys()


def _registration(folder: Path) -> dict[str, Any] | None:
    return _read(
        folder / "registration.json",
        _check_registration,
        "then all claims count as exploratory until `normbench run` registers them anew",
    )


def read_record(folder: Path) -> dict[str, Any]:
    """All decisions with what they rest on; empty if none was taken."""
    record = _read(
        folder / "decisions.json",
        _check_decisions,
        "then what it held is decided anew from the present results",
    )
    return record or {"version": DECISIONS_VERSION, "rates": {}, "thresholds": {}}


def read_decisions(folder: Path) -> Decisions:
    """The decided values alone. Raises ResultsError for a damaged or newer file."""
    record = read_record(folder)
    return Decisions(
        {key: float(choice["learning_rate"]) for key, choice in record["rates"].items()},
        {key: float(choice["threshold"]) for key, choice in record["thresholds"].items()},
    )


def add_decisions(
    folder: Path, kind: str, choices: dict[str, dict[str, Any]], anew: Collection[str] = ()
) -> None:
    """Add decisions of a kind (``rates`` or ``thresholds``).

    An earlier one is changed only for the keys ``anew``, of which the runs were computed anew.
    """
    record = read_record(folder)
    taken = {key: {**choice, "decided": now()} for key, choice in choices.items()}
    record[kind] = {**taken, **{k: v for k, v in record[kind].items() if k not in anew or
                                k not in taken}}  # fmt: skip
    write_object(folder / "decisions.json", record, sort=True)


def claim_hashes(study: Study) -> dict[str, str]:
    """The content of each claim, with its family's method and the error rate, as a hash."""
    methods = {family.id: family.method for family in study.families}
    members: dict[str, list[str]] = {}
    for claim in study.claims:
        members.setdefault(claim.family, []).append(claim.id)
    quiet = {"text", "chapter", "expect"}
    return {
        claim.id: digest(
            [
                claim.model_dump(mode="json", exclude=quiet),
                methods[claim.family],
                sorted(members[claim.family]),
                study.alpha,
            ]
        )
        for claim in study.claims
    }


def register_claims(folder: Path, study: Study) -> None:
    """Store the claims before the first run; later calls change nothing."""
    if _registration(folder) is not None:
        return
    content = {
        "version": DECISIONS_VERSION,
        "registered": now(),
        "claims": claim_hashes(study),
    }
    write_object(folder / "registration.json", content, sort=True)


def exploratory_claims(folder: Path, study: Study) -> set[str]:
    """The claims that differ from what was registered before the first run."""
    content = _registration(folder) or {"claims": {}}
    registered = content["claims"]
    return {claim for claim, key in claim_hashes(study).items() if registered.get(claim) != key}
