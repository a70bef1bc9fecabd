"""What the sections of a report are made from: the results, their tables and one look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from normbench.analysis.boundary import Boundary
from normbench.analysis.cells import regression_experiments
from normbench.analysis.labels import values
from normbench.analysis.settings import Setting, all_settings
from normbench.analysis.tables import Analysis
from normbench.catalog import BATCH_STATISTICS, NORMS
from normbench.figures.look import Look
from normbench.protocol.choice import Choice
from normbench.protocol.study import Experiment, Study
from normbench.report.phrases import SQUARED_ERROR, setting_text
from normbench.results.load import Results


@dataclass(frozen=True)
class Source:
    """Results with their analysis; ``tables`` is the folder beside the page that holds it.

    ``boundary`` collects what could not be made.
    """

    results: Results
    analysis: Analysis
    tables: str = ""
    boundary: Boundary = field(default_factory=Boundary)

    @cached_property
    def study(self) -> Study:
        """The protocol; what a regression calls its loss is said by its name."""
        study, regressions = self.results.study, regression_experiments(self.results.runs)
        named = [
            series.model_copy(update={"metric": SQUARED_ERROR})
            if series.name in regressions and series.metric == "loss"
            else series
            for series in study.experiments
        ]
        return study.model_copy(update={"experiments": tuple(named)})

    @property
    def alpha(self) -> float:
        """The error rate of every test."""
        return self.study.alpha

    @cached_property
    def look(self) -> Look:
        """Colours and markers for the norms of the whole study."""
        return Look.of(list(self.norms), all_settings(self.results.runs, self.study))

    @cached_property
    def norms(self) -> dict[str, Choice]:
        """The norms of the whole study by their labels."""
        return {c.norm.label: c.norm for e in self.study.experiments for c in e.cells}

    def setting(self, text: object) -> Setting:
        """The setting of a row of the tables."""
        return self.look.setting(str(text))

    def said(self, text: object) -> str:
        """A setting in words."""
        return setting_text(self.setting(text))

    def within(self, text: object) -> str:
        """A setting in brackets behind what is said of it; nothing where there is only one."""
        return f" ({self.said(text)})" if text else ""

    def place(self, text: object) -> str:
        """A setting as a cell of a table: all values, so that no two settings look alike."""
        return values(self.setting(text))

    def uses_batch_statistics(self, label: str) -> bool:
        """Whether a norm computes from other samples of the batch, as batch norm does.

        A network's own norms do where it was evaluated with several kinds of statistics.
        """
        name = self.norms[label].name
        if name == "keep":
            return bool((self.analysis["evaluations"]["norm"] == label).any())
        return name in NORMS and BATCH_STATISTICS in NORMS[name].traits

    @property
    def level(self) -> str:
        """The level of intervals, in words."""
        return f"{100 * (1 - self.alpha):g} % interval"

    def rows(self, table: str, series: Experiment, setting: str | None = None) -> pd.DataFrame:
        """The rows of a table that belong to an experiment, and a setting if one is given."""
        frame = self.analysis[table]
        own = frame["experiment"] == series.name
        if setting is not None:
            own &= frame["setting"] == setting
        return frame[own]

    def groups(self, table: str = "final") -> Iterator[tuple[Experiment, str]]:
        """Every experiment and setting that a table has rows of, in the protocol's order."""
        for series in self.study.experiments:
            for setting in dict.fromkeys(self.rows(table, series)["setting"]):
                yield series, str(setting)

    def several(self, series: Experiment) -> bool:
        """Whether an experiment has several settings."""
        return self.rows("final", series)["setting"].nunique() > 1

    @cached_property
    def main(self) -> tuple[Experiment, str] | None:
        """The experiment and setting that the answer is about.

        One that compares norms at several batch sizes, if there is any, else one that compares
        norms; among these that of the first claim, else one that any claim is about, else the
        first.
        """
        found = list(self.groups())
        claimed = [claim.experiment for claim in self.study.claims]

        def rank(group: tuple[Experiment, str]) -> tuple[bool, bool, bool, bool]:
            final = self.rows("final", *group)
            norms, sizes = final["norm"].nunique() > 1, final["batch_size"].nunique() > 1
            name = group[0].name
            return not (norms and sizes), not norms, name not in claimed[:1], name not in claimed

        return min(found, key=rank) if found else None
