"""How the stored results stand to a plan, before a run changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from normbench.errors import (
    NewerResultsError,
    ResultsError,
    UnreadableResultsError,
)
from normbench.protocol.study import Study
from normbench.results.decisions import read_decisions
from normbench.results.files import DamagedError
from normbench.results.looked import read_looks
from normbench.results.registration import read_registration, upcoming
from normbench.results.store import Store
from normbench.workflow.unplanned import Unplanned, count_unplanned, refuse_to_lose

if TYPE_CHECKING:
    pass
from normbench.workflow.plan import Planned, replan


def check_folder(store: Store, study: Study) -> None:
    """Refuse a folder whose results are another protocol's, newer, or withheld by the system.

    Nothing is written. One that names what is not installed here passes: running the protocol
    writes it anew. A damaged one does not: whose results these are would be forgotten.
    """
    if not store.exists:
        return
    read_decisions(store.folder)
    read_registration(store.folder)
    read_looks(store.folder)
    try:
        stored = store.read_study()
    except (NewerResultsError, UnreadableResultsError, DamagedError):
        raise
    except ResultsError:
        return
    if stored.name != study.name:
        raise ResultsError(
            f"{store.folder} holds the results of the protocol {stored.name!r}, not of "
            f"{study.name!r}; give this protocol a folder of its own with --results"
        )


def unplanned_runs(store: Store, planned: Planned) -> Unplanned:
    """What of the stored runs this plan leaves out, with the learning rates decided there."""
    runs = replan(planned, read_decisions(store.folder)).runs
    return count_unplanned(store, planned.study, runs)


@dataclass(frozen=True)
class Standing:
    """What is known before a run changes anything: finished runs, and what is to be said."""

    finished: int | None
    notes: tuple[str, ...]


def before_training(store: Store, planned: Planned, *, replace: bool = False) -> Standing:
    """How the stored results stand to a plan; raises where a run of it must not start.

    See :func:`check_folder`; and unless ``replace``, a protocol that asks for none of the stored
    runs is refused.
    """
    check_folder(store, planned.study)
    left = unplanned_runs(store, planned)
    if not replace:
        refuse_to_lose(store, left)
    return Standing(left.stored, notes_on(store, planned, left))


def notes_on(store: Store, planned: Planned, left: Unplanned) -> tuple[str, ...]:
    """What is to be said of the stored results before a plan is run, a line each."""
    said = (
        *planned.warnings,
        left.sentence(),
        *upcoming(store.folder, planned.study, planned.basis),
    )
    return tuple(note for note in said if note)
