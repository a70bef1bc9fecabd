"""The simulations of ``calibration.py``: small ones always, full ones in the slow suite."""

from math import sqrt

import pytest
from scipy.stats import binom

from . import calibration

# Two-sided probability with which one correct figure may fail; some fifty figures together
# stay below 1e-4.
MISTAKE = 1e-6

SMALL = {
    "interval-30": 80,
    "invariance-20": 200,
    "invariance-30": 100,
    "invariance-power": 200,
    "sweep-10": 200,
    "sweep-20": 60,
    "sweep-band-10": 100,
    "sweep-band-20": 40,
    "family-20": 150,
    "family-null-20": 100,
}


def wide_limits(row, replicates):
    """Binomial limits, widened by the error of the published figure and its rounding."""
    slack = 0.0
    if row.kind == "simulated":
        slack = 5 * sqrt(row.figure * (1 - row.figure) / calibration.REFERENCE) + 0.005
    lowest, highest = max(row.figure - slack, 0.0), min(row.figure + slack, 1.0)
    low = binom.ppf(MISTAKE / 2, replicates, lowest) / replicates
    high = binom.isf(MISTAKE / 2, replicates, highest) / replicates
    return 0.0 if row.kind == "at most" else low, 1.0 if row.kind == "at least" else high


@pytest.mark.parametrize("key", list(calibration.STUDIES))
def test_small_simulation(key):
    replicates = SMALL.get(key, 150 if key.startswith("said-") else 300)
    rates = calibration.run(key, replicates)
    for row, rate in zip(calibration.STUDIES[key].rows, rates, strict=True):
        low, high = wide_limits(row, replicates)
        assert low <= rate <= high, f"{row.name}: {rate} outside {low} to {high}"


def test_limits_are_three_standard_errors():
    simulated = calibration.Row("power", 0.6, "simulated")
    low, high = calibration.limits(simulated, 4000)
    assert high - low == pytest.approx(6 * sqrt(0.24 * (1 / 4000 + 1 / 2000)))
    exact = calibration.Row("level", 0.05, "exact")
    assert calibration.limits(exact, 4000)[1] == pytest.approx(0.05 + 3 * sqrt(0.0475 / 4000))
    assert calibration.limits(calibration.Row("bound", 0.05, "at most"), 4000)[0] == 0
    assert calibration.limits(calibration.Row("cover", 0.94, "at least"), 4000)[1] == 1


def test_a_figure_outside_is_decided_by_its_second_run():
    row = calibration.Row("level", 0.05, "exact")
    first = calibration.Line(row, 0.07, 0.04, 0.06, 4000, 1)
    good, bad = (calibration.Line(row, m, 0.045, 0.055, 16000, 2) for m in (0.05, 0.07))
    assert calibration.passed([first, good])
    assert not calibration.passed([first, bad])
    page = calibration.table([first, good])
    assert "run again" in page
    assert "| 16,000 | 2 | inside |" in page
    assert "OUTSIDE" in calibration.table([first, bad])


@pytest.mark.slow
@pytest.mark.parametrize("key", list(calibration.STUDIES))
def test_full_simulation(key):
    lines = calibration.lines_of(key)
    assert calibration.passed(lines), calibration.table(lines)
