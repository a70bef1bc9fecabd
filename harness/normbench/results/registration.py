"""``registration.json``: what a study declared before its first run, and what changed since.

The first version held a hash of each claim with its family; seeds and axes were not in it. This one
holds the resolved protocol. A change made before any run has finished is registered in its place;
every later one is kept with its date and what was known then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from normbench.plan.spec import digest
from normbench.protocol.declared import Plain, adds_seeds, claim_changes, listed, study_changes
from normbench.protocol.study import Study
from normbench.results.decisions import read_versioned
from normbench.results.files import write_object
from normbench.results.looked import read_looks
from normbench.results.provenance import now

REGISTRATION_VERSION = 2
_MOST_NAMES = 20
_OLDER = (
    "the claims were registered by an older normbench, which noted neither seeds nor axes: whether "
    "those are as declared is not known"
)


@dataclass(frozen=True)
class Deviations:
    """What is not as it was declared before the first run.

    ``claims`` holds, for each claim that is exploratory for it, why; ``lines`` all changes with
    their dates and what was known then.
    """

    claims: dict[str, str] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def _check(content: dict[str, Any]) -> None:
    if int(content["version"]) == 1:
        content["claims"].keys()
        return
    claim_changes(content["study"], content["study"])
    study_changes(content["study"], content["study"])
    _runs(content["finished"])
    for change in content["changes"]:
        [*change["what"], *change["claims"].keys()]
        str(change["when"]), _runs(change["finished"]), int(change["looks"]), bool(change["anew"])


def read_registration(folder: Path) -> dict[str, Any] | None:
    """What was registered; None where nothing was. Raises ResultsError where it cannot be read."""
    return read_versioned(
        folder / "registration.json",
        _check,
        "then all claims count as exploratory",
        REGISTRATION_VERSION,
    )


def claim_hashes(study: Study) -> dict[str, str]:
    """What version 1 registered of each claim: its content, its family and the error rate."""
    methods = {family.id: family.method for family in study.families}
    members: dict[str, list[str]] = {}
    for claim in study.claims:
        members.setdefault(claim.family, []).append(claim.id)
    quiet = {"text", "chapter", "expect", "a_axes", "b_axes"}  # it knew the labels alone
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


def register_claims(
    folder: Path,
    study: Study,
    finished: int | None = 0,
    before: Study | None = None,
    basis: Mapping[str, str] | None = None,
) -> None:
    """Register what a study declares, or note what is not as it was registered.

    ``basis`` says what else decides its numbers: the code of components of other packages and the
    content of data sets, by what they are called. ``finished`` is how many stored runs are
    finished (None where they cannot be counted), and ``before`` the protocol of the last run, which
    takes the place of what version 1 did not note.
    """
    content = read_registration(folder)
    plain = study.model_dump(mode="json") | {"basis": dict(basis or {})}
    looks, stale = read_looks(folder), False
    if content is not None and content["version"] != 1:
        stale = content.get("basis") != plain["basis"]
        content["basis"] = plain["basis"]
        content["study"].setdefault("basis", plain["basis"])  # it was not noted before
    if content is None:
        content = _fresh(plain, now(), finished)
    elif content["version"] == 1:
        base = plain if before is None else plain | before.model_dump(mode="json")
        fresh = _fresh(base, content.get("registered", "?"), 0 if before else finished)
        content = fresh | {"hashes": content["claims"]}
        _note(content, plain, finished, looks)
    elif not _note(content, plain, finished, looks) and not stale:
        return
    content["basis"] = plain["basis"]
    write_object(folder / "registration.json", content)


def _fresh(plain: Plain, when: str, finished: int | None) -> dict[str, Any]:
    return {
        "version": REGISTRATION_VERSION, "registered": when, "finished": finished,
        "study": plain, "changes": [],
    }  # fmt: skip


def _note(
    content: dict[str, Any], plain: Plain, finished: int | None, looks: Sequence[Plain]
) -> bool:
    """Add what differs now from what is registered; False where that is noted already."""
    what = study_changes(content["study"], plain)
    claims = claim_changes(content["study"], plain)
    last = content["changes"][-1] if content["changes"] else {"anew": True}
    known = ([], {}) if last["anew"] else (last["what"], last["claims"])
    if (what, claims) == known:
        return False
    known_before = looks or content["finished"] != 0 or "hashes" in content
    anew = finished == 0 and not known_before
    entry = {"when": now(), "finished": finished, "looks": len(looks), "anew": anew}
    content["changes"].append(entry | {"what": what, "claims": claims})
    if anew:
        content["study"] = plain
    return True


def deviations(folder: Path, study: Study) -> Deviations:
    """How a study departs from what was registered; claims that do so are exploratory."""
    content = read_registration(folder)
    every = [claim.id for claim in study.claims]
    if content is None:
        missing = "there is no registration: nobody knows what was declared before the first run"
        return Deviations(dict.fromkeys(every, missing), (missing,) if every else ())
    hashes = content["claims"] if content["version"] == 1 else content.get("hashes", {})
    older = content["version"] == 1 or "hashes" in content
    why: dict[str, str] = {}
    if older:
        current = claim_hashes(study)
        edited = [claim for claim in every if hashes.get(claim) != current[claim]]
        why = dict.fromkeys(edited, "changed or added after the first run")
    lines = [_OLDER] if older and every else []
    if content["version"] == 1:
        return Deviations(why, tuple(lines))
    if content["finished"] != 0:
        late = f"registered only when {_runs(content['finished'])} had finished"
        why |= dict.fromkeys(every, late)
        lines.append(f"{content['registered']}: {late}")
    lines += _told(content["changes"])
    present = study.model_dump(mode="json") | {"basis": content.get("basis", {})}
    for claim, changed in claim_changes(content["study"], present).items():
        said = [_with_knowledge(content["changes"], claim, line) for line in changed]
        why[claim] = "; ".join(filter(None, [why.get(claim, ""), *said]))
    return Deviations(why, tuple(lines))


def upcoming(folder: Path, study: Study, basis: Mapping[str, str] | None = None) -> list[str]:
    """What a run with this protocol would note as changed, in words.

    ``basis`` is as in :func:`register_claims`; None where it is not known.
    """
    content = read_registration(folder)
    if content is None or content["version"] == 1:
        return []
    known_basis = content.get("basis", {}) if basis is None else dict(basis)
    plain = study.model_dump(mode="json") | {"basis": known_basis}
    noted = [change for change in content["changes"][-1:] if not change["anew"]]
    known = [line for change in noted for line in change["what"]]
    new = [line for line in study_changes(content["study"], plain) if line not in known]
    if not new:
        return []
    touched = listed([*claim_changes(content["study"], plain)], _MOST_NAMES)
    rest = f"; exploratory from now on: {touched}" if touched else ""
    when = content["registered"]
    return [f"not as registered on {when}: {'; '.join(new)}{rest}"]


def _told(changes: Sequence[dict[str, Any]]) -> list[str]:
    """Each change once, with its date and what was known."""
    lines = []
    before: list[str] = []
    for change in changes:
        new = [line for line in change["what"] if line not in before]
        back = [line for line in before if line not in change["what"]]
        said = [*new, *(f"taken back: {line}" for line in back)]
        touched = listed([*change["claims"]], _MOST_NAMES)
        if change["anew"]:
            rest = "; registered anew, as nothing was known yet"
        else:
            rest = f"; exploratory since: {touched}" if touched else "; no claim rests on it"
        if said:
            lines.append(f"{change['when']}, {_known(change)}: {'; '.join(said)}{rest}")
        before = [] if change["anew"] else change["what"]
    return lines


def _with_knowledge(changes: Sequence[dict[str, Any]], claim: str, line: str) -> str:
    """A line of what changed in a claim, with what was known when it did."""
    first = None
    for change in reversed(changes):
        if change["anew"] or line not in change["claims"].get(claim, ()):
            break
        first = change
    if first is None:
        return line
    if adds_seeds(line) and first["looks"]:
        line = line.replace("seeds added:", "seeds added after a look:", 1)
        return f"{line} ({_runs(first['finished'])} finished)"
    return f"{line} ({_known(first)})"


def _known(change: dict[str, Any]) -> str:
    looked = "after a look at the results" if change["looks"] else "before any look"
    return f"{_runs(change['finished'])} finished, {looked}"


def _runs(count: int | None) -> str:
    if count is None:
        return "an unknown number of runs"
    return "no run" if not count else "1 run" if count == 1 else f"{count:,} runs"
