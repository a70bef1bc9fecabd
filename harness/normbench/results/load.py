"""Results as pandas frames."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from normbench.catalog.fingerprints import Code
from normbench.errors import ResultsError
from normbench.plan.code import absent_components, foreign_components
from normbench.plan.decisions import Decisions
from normbench.protocol.study import Study
from normbench.results.contents import Recorded, read_contents
from normbench.results.decisions import read_decisions, read_record
from normbench.results.execution import environment_of_group
from normbench.results.look import look
from normbench.results.provenance import read_provenance
from normbench.results.registration import Deviations, deviations
from normbench.results.store import Store, latest_results
from normbench.results.timings import read_timings

log = logging.getLogger(__name__)


@dataclass
class Results:
    """The tables of one protocol, each read when it is first used.

    ``runs`` has a row for every planned run, ``epochs`` a row per run and evaluation,
    ``predictions`` a row per run and evaluation kind and ``probes`` a row per run, evaluation,
    quantity and layer (none where no probes were asked for); ``run_hash`` joins them. The columns
    are described in ``results/README.md``.
    """

    folder: Path
    #: Pooled thresholds that are not decided yet, as ``decisions.json`` would hold them.
    provisional: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    _store: Store = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._store = Store(self.folder)

    def __repr__(self) -> str:
        return look(self)

    @cached_property
    def study(self) -> Study:
        """The resolved protocol."""
        return self._store.read_study()

    @cached_property
    def code(self) -> dict[str, Code]:
        """The code of the components of other packages that the protocol's runs used."""
        return self._store.read_document().code

    @cached_property
    def older(self) -> str:
        """What to know of results that an older version identified; empty for today's."""
        document = self._store.read_document()
        if document.records_code:
            return ""
        return (
            f"These results are of schema version {document.version}: a run's identity did not yet "
            "cover the code of components of other packages, nor was it recorded."
        )

    @cached_property
    def unrecorded(self) -> list[str]:
        """Components of other packages whose code these results did not record, said of each."""
        if not self.older:
            return []
        return [
            f"which code of the {key} ran was not recorded by the version of normbench that made "
            "these results: what was edited meanwhile may be mixed"
            for key in foreign_components(self.study)
        ]

    @cached_property
    def imported(self) -> list[str]:
        """Where runs come from that were not trained here, a sentence each."""
        found: list[str] = []
        try:
            invocations = self.provenance["invocations"]
        except ResultsError:  # told by what shows it
            return found
        for invocation in invocations:
            one = invocation.get("imported")
            if isinstance(one, dict):
                found.append(
                    f"normbench did not train these runs: they are imported from {one.get('file')} "
                    f"(SHA-256 {str(one.get('sha256'))[:16]}…), which is all that is known of them"
                )
        return found

    @cached_property
    def absent(self) -> list[str]:
        """What these results were made with and is not installed here, a sentence each."""
        if self.imported:
            return []
        found = []
        for key in absent_components(self.study):
            code = self.code.get(key)
            package = f" of {code.distribution} {code.version}".rstrip() if code else ""
            found.append(
                f"the {key}{package} is not installed here; its results are read as stored"
            )
        return found

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Every invocation that worked on these results."""
        return read_provenance(self.folder)

    @cached_property
    def decisions(self) -> Decisions:
        """Tuned learning rates and pooled thresholds, those of this look among them."""
        stored = read_decisions(self.folder)
        levels = {key: float(one["threshold"]) for key, one in self.provisional.items()}
        return replace(stored, thresholds={**levels, **stored.thresholds})

    @cached_property
    def pooled(self) -> dict[str, dict[str, Any]]:
        """What pooled thresholds rest on; one without ``decided`` is provisional."""
        return {**self.provisional, **read_record(self.folder)["thresholds"]}

    @cached_property
    def deviations(self) -> Deviations:
        """What is not as it was declared before the first run, and the claims it touches."""
        return deviations(self.folder, self.study)

    @cached_property
    def contents(self) -> dict[str, Recorded]:
        """What is recorded of each data set that the runs were computed from."""
        return read_contents(self.folder)

    @cached_property
    def environments(self) -> dict[str, str]:
        """For each execution hash, a hash of the machine and versions that it names."""
        return environment_of_group(self.folder)

    @cached_property
    def all_runs(self) -> pd.DataFrame:
        """Every run that is stored, those included that the protocol no longer asks for."""
        return self._frame("runs")

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Every planned run, one row each, whatever became of it."""
        planned = self.all_runs["planned"].to_numpy(dtype=bool)
        return self.all_runs[planned].reset_index(drop=True)

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """One row per run and evaluation."""
        return self._frame("epochs")

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Which test items were classified correctly at the last evaluation."""
        return self._frame("predictions")

    @cached_property
    def probes(self) -> pd.DataFrame:
        """What probes measured inside the networks; empty where there were none."""
        return self._frame("probes")

    @cached_property
    def timings(self) -> pd.DataFrame:
        """A row per timed cell and repetition; empty where steps were never timed."""
        frame: pd.DataFrame = read_timings(self.folder).to_pandas()
        return frame

    def curves(self) -> pd.DataFrame:
        """``epochs`` with the run's experiment, model, norm, batch size, seed and status."""
        keys = ["run_hash", "experiment", "model", "norm", "batch_size", "seed", "status"]
        return self.runs[keys].merge(self.epochs, on="run_hash", how="inner")

    def read_columns(self, table: str, columns: Sequence[str]) -> pd.DataFrame:
        """Some columns of a table, read anew; ``run_hash`` must be among them."""
        frame: pd.DataFrame = self._store.read(table, columns).to_pandas()
        return frame

    def _frame(self, table: str) -> pd.DataFrame:
        frame: pd.DataFrame = self._store.read(table).to_pandas()
        return frame


def load(folder: str | Path) -> Results:
    """The results in ``folder``, such as ``results/full``, as pandas frames.

    A folder that holds several results, such as ``results``, gives the latest of them. Raises
    :class:`~normbench.errors.ResultsError` where there are none, or where they are damaged or
    of a newer version.
    """
    path = Path(folder)
    if (
        not (path / "protocol.json").exists()
        and path.is_dir()
        and any(path.glob("*/protocol.json"))
    ):
        path = latest_results(path)
    results = Results(path)
    _ = results.study  # a folder without results is refused here, not at the first frame
    for sentence in (*results.imported, *results.unrecorded, *results.absent):
        log.warning("%s: %s", path, sentence)
    return results
