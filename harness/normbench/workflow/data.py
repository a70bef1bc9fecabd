"""The data of a study before runs are computed: whether they changed, and what was skipped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from normbench.datasets.content import Content, name_of, skipped_line
from normbench.errors import ResultsError
from normbench.plan.expand import expand, select
from normbench.plan.spec import RunSpec
from normbench.results.contents import Recorded, RunsByData, check_contents, name_of_row
from normbench.results.decisions import read_decisions
from normbench.results.schema import DONE
from normbench.results.store import Store

if TYPE_CHECKING:
    from normbench.workflow.plan import Planned


def check_data(
    store: Store, planned: Planned, only: Sequence[str] = (), *, recompute: bool = False
) -> dict[str, Recorded]:
    """What is to be recorded of the data before the planned runs are computed.

    With ``recompute`` those that ``only`` chooses are computed anew. Raises :class:`ResultsError`
    where stored results rest on other data and would stay.
    """

    def runs() -> RunsByData:
        wanted = expand(planned.study, read_decisions(store.folder), planned.code)
        anew = frozenset(run.run_hash for run in select(wanted, only)) if recompute else None
        return RunsByData(_results_by_data(store), frozenset(run.run_hash for run in wanted), anew)

    return check_contents(store.folder, planned.contents, runs)


def _results_by_data(store: Store) -> dict[str, frozenset[str]]:
    columns = ["run_hash", "status", "dataset", "dataset_params"]
    found = defaultdict(set)
    for row in store.read("runs", columns).to_pylist() if store.exists else ():
        if row["status"] in DONE:
            found[name_of_row(row)].add(row["run_hash"])
    return {name: frozenset(runs) for name, runs in found.items()}


def digests(runs: Iterable[RunSpec], contents: Mapping[str, Content]) -> dict[str, str]:
    """The digests of the data that runs are to be trained on, by the data sets' names."""
    names = {name_of(run.cell.dataset.name, run.cell.dataset.params) for run in runs}
    return {name: contents[name].sha256 for name in sorted(names) if name in contents}


def data_notes(contents: Mapping[str, Content]) -> list[str]:
    """What people should know of the data, a line each: which files were skipped, and why."""
    lines = (skipped_line(name, content) for name, content in contents.items())
    return [line for line in lines if line]


def data_changes(store: Store, planned: Planned) -> str:
    """Why the runs would be refused for their data; empty where they would not."""
    try:
        check_data(store, planned)
    except ResultsError as error:
        return str(error)
    return ""
