"""The data dictionary: the stored tables column by column, and the tables of this analysis."""

from __future__ import annotations

from normbench.report import words
from normbench.report.blocks import Column, Table, Value
from normbench.report.source import Source
from normbench.results.schema import TABLES
from normbench.results.timings import TIMINGS

_SAVED = {
    "claims": "every hypothesis of the claims with its verdict and all that it rests on",
    "completeness": "runs by status, per experiment, setting, norm and batch size",
    "curves": "median and 10 to 90 % quantiles over seeds, per evaluation",
    "final": "the final error of every run",
    "times": "restricted mean time to each threshold, in every unit, and the share that reached it",
    "run_times": "the same run by run",
    "profile": "epochs saved against the reference at 20 thresholds, with a simultaneous band",
    "costs": "time of an isolated training step and its parts, memory, ratio to the reference",
    "comparisons": "every norm against the reference, endpoint by endpoint",
    "pairs": "every norm against every other at the same batch size, corrected as one family",
    "degradation": "what shrinking batches cost each norm more than the reference",
    "crossover": "from which batch size on a norm is no longer worse than the reference",
    "evaluations": "final error of every run of batch norm by kind of statistics",
    "evaluation_split": "batch norm's difference to the reference, split into training and "
    "evaluation",
    "invariance": "largest change of each norm with the batch size, and a bound on it",
    "input_norm": "what input normalization gains, and how that depends on the norm",
    "scale": "linear regressions: steps to a tolerance, predicted and measured",
    "scale_shares": "each feature's share of the first step against its importance",
    "scale_paths": "with two features, the first seed's weights step by step",
    "scale_contours": "the training loss as a quadratic over those two weights",
    "mechanisms": "what probes measured: median and 10 to 90 % quantiles over seeds, per layer and "
    "evaluation",
    "probe_costs": "what the probes took of the runs' time",
    "divergence": "how many runs diverged, with the interval of that share",
    "noise": "spread over seeds, apart from what the finite test set explains",
    "tuning": "the score of every learning rate of the grid",
    "learning_rates": "the rate chosen for each cell, and its stable range",
}


def saved_tables(source: Source) -> Table:
    """The tables of the analysis, which are saved beside the page."""
    rows = [
        [Value(name), words.count(len(table)), words.count(len(table.columns)),
         Value(_SAVED.get(name, ""))]
        for name, table in source.analysis.tables.items()
    ]  # fmt: skip
    columns = [Column("table"), Column("rows", number=True), Column("columns", number=True),
               Column("what it holds")]  # fmt: skip
    where = f", saved beside it in {source.tables}/ as CSV and parquet" if source.tables else ""
    return Table("methods-tables", f"The tables behind this page{where}", columns, rows)


def data_dictionary() -> Table:
    """Every column of the stored results."""
    rows = [
        [Value(table), Value(c.name), Value(str(c.type)), Value(c.unit), Value(c.doc)]
        for table, columns in ({**TABLES, "timings": TIMINGS}).items()
        for c in columns
    ]
    heading = [
        Column("table"),
        Column("column"),
        Column("type"),
        Column("unit"),
        Column("meaning"),
    ]
    return Table("methods-dictionary", "Data dictionary of the results folder", heading, rows,
                 filter_by=0, folded=True)  # fmt: skip
