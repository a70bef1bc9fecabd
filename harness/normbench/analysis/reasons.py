"""Why something was not compared, and what must be known of what was: all wordings of the analysis.

They stand in the tables as they are, like the messages of errors; all other sentences are made by
the report, from values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from normbench.stats.result import Caveat

BUDGETS_DIFFER = "the budgets differ"
NO_SHARED_SEED = "no seed is planned in both"
NOT_RECORDED = "confounded with machine: it is not recorded where the runs were made"
NO_THRESHOLD = "the pooled threshold is not computed yet"
NOT_RUN = "not run yet"
CELL_MISSING = "a cell is missing"
SIZE_MISSING = "a batch size has no runs for one of the norms"
ONE_LEVEL = "all runs reach the same level"
#: What is estimated.
FINAL_DIFFERENCE = "difference of the final errors"
TIME_DIFFERENCE = "difference of the restricted mean times"
DEGRADATION = "extra error from the largest to the smallest batch size"
CROSSOVER = "batch size from which on the norm is no longer worse"
INPUT_GAIN = "mean over seeds of what input normalization gains (positive: it helps)"
INPUT_GAIN_BESIDE = f"{INPUT_GAIN}, minus the same without that norm"


def confounded(seed: int) -> str:
    """The runs of a seed come from different environments."""
    return (
        f"confounded with machine: the runs of seed {seed} were not all made on one machine with "
        "one set of versions; compute one of them again"
    )


def unlike(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Two sides come from different environments: in what they differ."""
    found = [
        f"{key} {one.get(key, '?')} → {other.get(key, '?')}"
        for key in dict.fromkeys([*one, *other])
        if one.get(key) != other.get(key)
    ]
    return "confounded with machine: " + (
        ", ".join(found) or "the runs were made in different environments"
    )


def budgets(a: float, b: float) -> str:
    """Times that end at different budgets."""
    return f"{BUDGETS_DIFFER}: {a:g} and {b:g} epochs"


def metrics(a: str, b: str) -> str:
    """Curves of different metrics."""
    return f"A is read by {a}, B by {b}"


def data_content(dataset: str) -> str:
    """Two cells of which one was trained on other data."""
    return f"the content of the data set {dataset}"


def no_reference(norm: str) -> str:
    """The reference is missing."""
    return f"{norm} has no runs at this batch size"


def missing_cells(labels: Sequence[str]) -> str:
    """Cells that lack most of their runs."""
    return f"missing cell: {', '.join(labels)}"


def unreadable(label: str, why: str) -> str:
    """A cell whose endpoint cannot be read."""
    return f"{label} has no value: {why}"


def undefined(label: str, why: Any) -> str:
    """A cell without a meaning."""
    return f"{label} is undefined: {why}"


def unmeasured(label: str, quantity: str, layer: str, layers: Sequence[str]) -> str:
    """A cell without a value of a probe's quantity; ``layers`` have some."""
    if not layer or not layers:
        return f"{label} has no value of {quantity}"
    return f"{label} has no value of {quantity} of layer {layer} (there are {', '.join(layers)})"


def no_logarithm(none: int, of: int) -> str:
    """Times of 0 have no ratio."""
    return (
        f"a ratio needs times above 0, and {none} of {of} are 0: those runs are at the threshold "
        "before they are trained"
    )


def final_errors(more: str, less: str) -> str:
    """Which final errors are subtracted."""
    return f"final error: {more} minus {less}"


def lower_error(norm: str, other: str) -> str:
    """The final error of another norm minus that of a norm."""
    return f"final error of {other} minus that of {norm}"


def at_chance() -> Caveat:
    """An equivalence of cells that learned nothing."""
    text = "every cell lies within the margin of the failure score: equal, but nothing was learned"
    return Caveat("at-chance", text)


def provisional(runs: int, planned: int) -> Caveat:
    """A threshold that is not frozen yet."""
    return Caveat("provisional", f"the threshold is provisional, from {runs} of {planned} runs")


def few_seeds(n: int, least: int) -> Caveat:
    """Too few seeds to decide anything that was not declared."""
    seeds = "1 seed" if n == 1 else f"{n} seeds"
    text = f"{seeds}, at least {least} are needed to decide what was not declared as a claim"
    return Caveat("few-seeds", text)


def window(evaluations: int) -> Caveat:
    """Two result sets that are read in the same way."""
    return Caveat("window", f"both read with a window of {evaluations} evaluations")


def own_seeds() -> Caveat:
    """A family whose comparisons have different seeds."""
    text = "the comparisons have different seeds: corrected by Holm, each over its own seeds"
    return Caveat("own-seeds", text)


def left_out(seeds: Sequence[int]) -> Caveat:
    """Seeds that not all comparisons of a family have."""
    listed = ", ".join(map(str, seeds))
    text = f"seeds excluded for the whole family because a comparison lacks them: {listed}"
    return Caveat("seeds-left-out", text)
