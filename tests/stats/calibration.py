"""Simulations that check the error rates, coverages and powers of the statistics.

Every simulation draws from a fixed seed, calls the public functions, and returns rates that
stand beside a published figure. ``python tests/stats/calibration.py OUT.md`` runs all of
them at full size on two processes and writes the table; the tests run smaller ones. They
stand in one module, long as it is, so that the list of what is promised is read in one place.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import log, sqrt
from multiprocessing import get_context
from pathlib import Path
from statistics import NormalDist
from typing import Literal

import numpy as np

from normbench.stats import (
    ClaimData,
    crossover_batch_size,
    invariance,
    inverse_batch_contrast,
    judge,
    margin_p_values,
    max_t,
    paired_difference,
    restricted_mean_difference,
    restricted_time,
    sign_flip_p_columns,
    simultaneous_band,
    subset_mean_interval,
)

if __package__:
    from . import automatic
else:  # run as a script
    import automatic

ALPHA = 0.05
FULL, AGAIN = 4_000, 16_000
REFERENCE = 2_000
FIRST_SEED = 4_100

Kind = Literal["exact", "simulated", "at most", "at least"]
Simulation = Callable[[np.random.Generator, int], tuple[float, ...]]


@dataclass(frozen=True)
class Row:
    """One figure: what it is, what was published, and how it is bounded."""

    name: str
    figure: float
    kind: Kind


@dataclass(frozen=True)
class Study:
    """One simulation and the figures that it returns, in order."""

    key: str
    rows: tuple[Row, ...]
    simulate: Simulation


def limits(row: Row, replicates: int) -> tuple[float, float]:
    """Return the acceptance limits: three standard errors, of the difference if simulated."""
    share = 1 / replicates + (1 / REFERENCE if row.kind == "simulated" else 0.0)
    room = 3 * sqrt(row.figure * (1 - row.figure) * share)
    low = 0.0 if row.kind == "at most" else row.figure - room
    high = 1.0 if row.kind == "at least" else row.figure + room
    return max(low, 0.0), min(high, 1.0)


def attainable(n: int) -> float:
    """Return the largest level of the two-sided flip test that is at most 5 %."""
    return int(ALPHA * 2**n / 2) * 2 / 2**n


# Generators -----------------------------------------------------------------------------


def normal(rng, replicates, n):
    return rng.standard_normal((replicates, n))


def heavy(rng, replicates, n):
    return rng.standard_t(3, (replicates, n)) / sqrt(3)


def bimodal(rng, replicates, n):
    shape = (replicates, n)
    fails = (rng.random(shape) < 0.15).astype(float) - (rng.random(shape) < 0.15)
    return rng.standard_normal(shape) + 10 * fails


def tied(rng, replicates, n):
    return np.round(0.75 * rng.standard_normal((replicates, n)))


def skewed(rng, replicates, n):
    spread = sqrt((np.exp(0.64) - 1) * np.exp(0.64))
    return (rng.lognormal(0, 0.8, (replicates, n)) - np.exp(0.32)) / spread


def restricted(rng, n, *, faster, rounded):
    """Return R_A, R_B of one experiment, budget 30."""
    shared = 0.3 * rng.standard_normal(n)
    noise = 0.25 * rng.standard_normal((2, n))
    time_a = np.exp(log(10) - (0.25 if faster else 0.0) + shared + noise[0])
    time_b = np.exp(log(10) + shared + noise[1])
    if rounded:
        time_a, time_b = np.ceil(time_a), np.ceil(time_b)
    return np.minimum(time_a, 30), np.minimum(time_b, 30)


def mean_restricted(location):
    """Return E min(T, 30) for log T ~ N(location, .3² + .25²)."""
    spread, phi = sqrt(0.3**2 + 0.25**2), NormalDist().cdf
    z = (log(30) - location) / spread
    return np.exp(location + spread**2 / 2) * phi(z - spread) + 30 * (1 - phi(z))


def curves(rng, n, *, faster):
    """Return learning curves of A and B at epochs 1..30, shape (n, 30) each."""
    x = np.arange(1, 31)
    level, pace = rng.standard_normal(n), rng.standard_normal(n)
    pair = []
    for factor in (0.8 if faster else 1.0, 1.0):
        top = 0.9 + 0.02 * (level + rng.standard_normal(n))
        tau = 6 * factor * np.exp(0.3 * pace + 0.25 * rng.standard_normal(n))
        pair.append(top[:, None] * (1 - np.exp(-x / tau[:, None])))
    return pair


def sweep_differences(rng, n, *, faster):
    """Return R_B − R_A at 20 thresholds, shape (n, 20)."""
    a, b = curves(rng, n, faster=faster)
    x, columns = np.arange(1, 31), []
    for theta in np.linspace(0.5, 0.85, 20):
        r_a, r_b = (restricted_time(x, c, float(theta), goal="max", budget=30).time for c in (a, b))
        columns.append(r_b - r_a)
    return np.stack(columns, axis=1)


SIZES = (2, 4, 8, 16, 32, 128)


def batch_errors(rng, n, *, extra=0.0, shift=0.0, slopes, noise_grows):
    """Return errors of the norm in question and of the reference, shape (n, 6) each."""
    b = np.array(SIZES, dtype=float)
    octaves = np.log2(b) - np.log2(b).mean()
    u = rng.standard_normal((n, 1))
    pair = []
    for questioned in (True, False):
        s = np.full(b.size, 0.4)
        if questioned and noise_grows:
            s = 0.4 * (1 + 4 / b)
        e = 2 / b + 0.5 * u + 0.3 * rng.standard_normal((n, 1))
        if slopes:
            e = e + 0.15 * rng.standard_normal((n, 1)) * octaves
        e = e + s * rng.standard_normal((n, b.size))
        pair.append(e + (extra * 2 / b if questioned else shift))
    return pair


def invariance_errors(rng, n, shifts):
    return 0.5 * rng.standard_normal((n, 1)) + 0.4 * rng.standard_normal((n, 6)) + shifts


def family(rng, n, effect=1.0):
    """Return 12 claims (two of four norms better by the effect in σ), shape (n, 12)."""
    y = rng.standard_normal((n, 5, 3)) + 0.7 * rng.standard_normal((n, 1, 1))
    better = effect * np.array([1.0, 1.0, 0.0, 0.0])[None, :, None]
    return ((y[:, :4] - y[:, 4:]) / sqrt(2) + better).reshape(n, 12)


# Simulations ----------------------------------------------------------------------------


def flip_rate(draw, n, shift=0.0):
    def simulate(rng, replicates):
        d = draw(rng, replicates, n) + shift
        return (float((sign_flip_p_columns(d.T) <= ALPHA).mean()),)

    return simulate


def interval_coverage(n):
    def simulate(rng, replicates):
        ends = [subset_mean_interval(d) for d in normal(rng, replicates, n)]
        return (float(np.mean([low <= 0 <= high for low, high in ends])),)

    return simulate


def guarded_rate(rng, replicates):
    found = [paired_difference(d).excludes(0.0) for d in skewed(rng, replicates, 20)]
    return (float(np.mean(found)),)


def restricted_null(rng, replicates):
    rates = []
    for rounded in (False, True):
        found = [
            restricted_mean_difference(
                *restricted(rng, 10, faster=False, rounded=rounded), budget=30
            ).excludes(0.0)
            for _ in range(replicates)
        ]
        rates.append(float(np.mean(found)))
    return tuple(rates)


def restricted_coverage(n):
    def simulate(rng, replicates):
        truth = mean_restricted(log(10)) - mean_restricted(log(10) - 0.25)
        missed = [
            restricted_mean_difference(
                *restricted(rng, n, faster=True, rounded=False), budget=30
            ).excludes(truth)
            for _ in range(replicates)
        ]
        return (1 - float(np.mean(missed)),)

    return simulate


def censoring_trap(rng, replicates):
    n, faster, slower = 20, 0, 0
    phi = np.vectorize(NormalDist().cdf)
    for _ in range(replicates):
        b = 0.3 * rng.standard_normal(n)
        z_a, z_b = rng.standard_normal((2, n))
        r_a, r_b = (np.minimum(np.ceil(np.exp(log(12) + b + 0.25 * z)), 30) for z in (z_a, z_b))
        r_a = np.where(phi(0.8 * b / 0.3 + 0.6 * z_a) > 0.7, 30, r_a)
        result = restricted_mean_difference(r_a, r_b, budget=30)
        faster += result.excludes(0.0) and result.estimate > 0
        slower += result.excludes(0.0) and result.estimate < 0
    return (faster / replicates, slower / replicates)


def sweep_null(n):
    def simulate(rng, replicates):
        wrong = covered = 0
        for _ in range(replicates):
            d = sweep_differences(rng, n, faster=False)
            wrong += bool((max_t(d) <= ALPHA).any())
            band = simultaneous_band(d)
            covered += bool(((band.low <= 0) & (band.high >= 0))[band.kept].all())
        return wrong / replicates, covered / replicates

    return simulate


def sweep_truth():
    rng = np.random.default_rng(FIRST_SEED - 1)
    return sweep_differences(rng, 40_000, faster=True).mean(axis=0)


def sweep_band(n):
    def simulate(rng, replicates):
        truth, covered = sweep_truth(), 0
        for _ in range(replicates):
            band = simultaneous_band(sweep_differences(rng, n, faster=True))
            covered += bool(((band.low <= truth) & (band.high >= truth))[band.kept].all())
        return (covered / replicates,)

    return simulate


def contrast_null(n):
    def simulate(rng, replicates):
        found = [
            inverse_batch_contrast(
                *batch_errors(rng, n, slopes=True, noise_grows=True), SIZES
            ).excludes(0.0)
            for _ in range(replicates)
        ]
        return (float(np.mean(found)),)

    return simulate


def contrast_power(rng, replicates):
    found = [
        inverse_batch_contrast(
            *batch_errors(rng, 10, extra=0.7, slopes=False, noise_grows=False), SIZES
        ).excludes(0.0)
        for _ in range(replicates)
    ]
    return (float(np.mean(found)),)


def invariance_rate(n, at_margin):
    shifts = np.zeros(6)
    shifts[0] = 0.5 if at_margin else 0.0

    def simulate(rng, replicates):
        claimed = 0
        for _ in range(replicates):
            e = invariance_errors(rng, n, shifts)
            result = invariance(e, SIZES, 128, 0.5)
            claimed += not any(result.excludes(v) for v in result.interval) and (
                max(map(abs, result.interval)) < 0.5
            )
        return (claimed / replicates,)

    return simulate


def invariance_boundary_p(n):
    """As ``invariance_rate`` at the margin, by the p-values alone: quick enough at n = 30."""

    def simulate(rng, replicates):
        claimed = 0
        for _ in range(replicates):
            e = invariance_errors(rng, n, np.array([0.5, 0, 0, 0, 0, 0]))
            inside, _ = margin_p_values(e[:, :5] - e[:, 5:], 0.5)
            claimed += bool(inside.max() <= ALPHA)
        return (claimed / replicates,)

    return simulate


def family_rates(n):
    def simulate(rng, replicates):
        wrong, right = 0, 0.0
        for _ in range(replicates):
            found = max_t(family(rng, n)) <= ALPHA
            wrong += bool(found[6:].any())
            right += float(found[:6].mean())
        return wrong / replicates, right / replicates

    return simulate


def family_null(n):
    def simulate(rng, replicates):
        wrong = [bool((max_t(family(rng, n, 0.0)) <= ALPHA).any()) for _ in range(replicates)]
        return (float(np.mean(wrong)),)

    return simulate


def crossover_coverage(slopes):
    def simulate(rng, replicates):
        x, gap = np.log2(SIZES), 1.2 * 2 / np.array(SIZES, dtype=float) - 0.35
        i = int(np.flatnonzero(gap <= 0)[0])
        crossing = 2 ** (x[i - 1] + (x[i] - x[i - 1]) * gap[i - 1] / (gap[i - 1] - gap[i]))
        covered = 0
        for _ in range(replicates):
            pair = batch_errors(rng, 10, extra=1.2, shift=0.35, slopes=slopes, noise_grows=False)
            low, high = crossover_batch_size(*pair, SIZES).interval
            covered += low <= crossing <= high
        return (covered / replicates,)

    return simulate


def equivalence_refuted(rng, replicates):
    shifts = np.array([0.499] * 5 + [0.0])
    wrong = 0
    for _ in range(replicates):
        e = invariance_errors(rng, 10, shifts)
        claim = ClaimData("five sizes", "equivalence", e[:, :5] - e[:, 5:], 0.5)
        wrong += judge(claim).outcome == "refuted"
    return (wrong / replicates,)


def verdict_rates(rng, replicates):
    outcomes = [
        judge(ClaimData("null", "superiority", rng.standard_normal(20))).outcome
        for _ in range(replicates)
    ]
    return tuple(outcomes.count(o) / replicates for o in ("supported", "refuted"))


def said(truth, noise):
    """Studies of which a page speaks by itself: false statements, the true best, contradictions."""

    def simulate(rng, replicates):
        found = automatic.rates(automatic.TRUTHS[truth], noise, rng, replicates)
        return found["any"], 1 - found["best"], found["contradiction"]

    return simulate


def _add_automatic(add) -> None:
    """All that is said of an experiment without a claim, at α = .05."""
    for truth in automatic.TRUTHS:
        for label, noise in automatic.CONTROLLED.items():
            add(
                f"said-{truth}-{label}",
                said(truth, noise),
                (f"any false statement, {label}, {truth}", 0.05, "at most"),
                (f"the true best is among those named, {label}, {truth}", 0.95, "at least"),
                (f"contradictions, {label}, {truth}", 0.0, "at most"),
            )
    for label, figure in (("unequal skew", 0.18), ("divergence of one norm", 0.21)):
        row = (f"any false statement, {label}, no norm worse: not controlled", figure, "simulated")
        noise = automatic.NOT_CONTROLLED[label]
        add(f"said-{label}", lambda rng, n, noise=noise: said("no norm worse", noise)(rng, n)[:1],
            row)  # fmt: skip
    powers = zip(("all", "half", "a quarter"), (0.74, 0.60, 0.47), strict=True)
    add(
        "said-power",
        lambda rng, n: tuple(automatic.contrast_power(rng, n)),
        *((f"a norm's degradation is found at {share} of α", power, "simulated")
          for share, power in powers),
    )  # fmt: skip


def _studies() -> list[Study]:
    studies = []

    def add(key: str, simulate: Simulation, *rows: tuple[str, float, Kind]) -> None:
        studies.append(Study(key, tuple(Row(*row) for row in rows), simulate))

    for label, draw in (("normal", normal), ("t₃", heavy), ("bimodal", bimodal)):
        for n in (8, 10, 20):
            row = (f"flip, {label} null, n = {n}", attainable(n), "exact")
            add(f"flip-{label}-{n}", flip_rate(draw, n), row)
    for n in (6, 8, 10, 30):
        row = (f"subset-mean interval coverage, n = {n}", 1 - attainable(n), "exact")
        add(f"interval-{n}", interval_coverage(n), row)
    for n, power in ((10, 0.60), (20, 0.92), (30, 0.99)):
        row = (f"flip power at .8σ, n = {n}", power, "simulated")
        add(f"power-{n}", flip_rate(normal, n, 0.8), row)
    for n in (10, 20, 30):
        add(f"ties-{n}", flip_rate(tied, n), (f"flip, ties, n = {n}", 0.05, "at most"))
    add("guard", guarded_rate, ("guard, skewed null, n = 20", 0.067, "simulated"))
    add(
        "restricted-null",
        restricted_null,
        ("restricted time, null, n = 10", 0.05, "at most"),
        ("restricted time, null, whole epochs, n = 10", 0.05, "at most"),
    )
    for n in (10, 20):
        row = (f"restricted time, coverage, n = {n}", 0.95, "simulated")
        add(f"restricted-{n}", restricted_coverage(n), row)
    add(
        "trap",
        censoring_trap,
        ('censor-at-NaN trap, "faster", n = 20', 0.01, "at most"),
        ('censor-at-NaN trap, "slower", n = 20', 0.36, "simulated"),
    )
    for n in (10, 20):
        add(
            f"sweep-{n}",
            sweep_null(n),
            (f"20 thresholds, max-T, null, n = {n}", 0.05, "at most"),
            (f"20 thresholds, band, null, n = {n}", 0.94, "at least"),
        )
        row = (f"20 thresholds, band, A 20 % faster, n = {n}", 0.94, "at least")
        add(f"sweep-band-{n}", sweep_band(n), row)
    for n in (10, 20):
        row = (f"1/b contrast, heteroscedastic null, n = {n}", 0.05, "simulated")
        add(f"contrast-{n}", contrast_null(n), row)
    row = ("1/b contrast, power, n = 10", 0.82, "simulated")
    add("contrast-power", contrast_power, row)
    row = ("invariance, one size at the margin, n = 20", 0.05, "at most")
    add("invariance-20", invariance_rate(20, True), row)
    row = ("invariance, one size at the margin, n = 30", 0.05, "at most")
    add("invariance-30", invariance_boundary_p(30), row)
    row = ("invariance, power, n = 20", 0.87, "simulated")
    add("invariance-power", invariance_rate(20, False), row)
    for n, power in ((8, 0.22), (10, 0.38), (20, 0.91)):
        add(
            f"family-{n}",
            family_rates(n),
            (f"max-T, 12 claims, half of them true, family-wise error, n = {n}", 0.05, "at most"),
            (f"max-T, 12 claims, power, n = {n}", power, "simulated"),
        )
        row = (f"max-T, 12 claims, none true, family-wise error, n = {n}", 0.05, "at most")
        add(f"family-null-{n}", family_null(n), row)
    for label, slopes in (("", False), (", random slopes", True)):
        row = (f"crossover interval, clear crossing{label}, n = 10", 0.94, "at least")
        add(f"crossover{'-slopes' if slopes else ''}", crossover_coverage(slopes), row)
    row = ("equivalence refuted, five sizes just inside δ, n = 10", 0.05, "at most")
    add("equivalence-refuted", equivalence_refuted, row)
    add(
        "verdicts",
        verdict_rates,
        ("verdict at θ = 0, n = 20: supported", 0.025, "at most"),
        ("verdict at θ = 0, n = 20: refuted", 0.025, "at most"),
    )
    _add_automatic(add)
    return studies


STUDIES = {study.key: study for study in _studies()}


def seed_of(key: str) -> int:
    """Return the study's seed; the next whole number is kept for a second run."""
    return FIRST_SEED + 2 * list(STUDIES).index(key)


def run(key: str, replicates: int, *, again: bool = False) -> tuple[float, ...]:
    """Run one study from its fixed seed (the next one when run again)."""
    rng = np.random.default_rng(seed_of(key) + int(again))
    return STUDIES[key].simulate(rng, replicates)


@dataclass(frozen=True)
class Line:
    """One line of the published table."""

    row: Row
    measured: float
    low: float
    high: float
    replicates: int
    seed: int

    @property
    def inside(self) -> bool:
        """Tell whether the measured rate lies within the limits."""
        return self.low <= self.measured <= self.high


def lines_of(key: str) -> list[Line]:
    """Run a study in full; a figure outside its limits is run once more, which decides."""
    rates, lines, second = run(key, FULL), [], None
    for i, row in enumerate(STUDIES[key].rows):
        first = Line(row, rates[i], *limits(row, FULL), FULL, seed_of(key))
        lines.append(first)
        if not first.inside:
            second = second or run(key, AGAIN, again=True)
            lines.append(Line(row, second[i], *limits(row, AGAIN), AGAIN, seed_of(key) + 1))
    return lines


def passed(lines: list[Line]) -> bool:
    """Tell whether every figure is inside its limits at its last run."""
    return all(line.inside for line in {line.row.name: line for line in lines}.values())


def table(lines: list[Line]) -> str:
    """Return the page with every measured figure; the same versions give the same page."""
    import scipy

    signs = {"exact": "", "simulated": "", "at most": "≤ ", "at least": "≥ "}
    text = [
        "# Calibration of the statistics",
        "",
        "Every figure that the statistics promise, measured by simulation with the functions",
        "of `normbench.stats`. `make calibrate` repeats it. Limits are three standard errors:",
        "of the simulation for exact levels and bounds, of the difference to a published",
        f"simulation of {REFERENCE:,} replicates otherwise. A figure outside its limits is run",
        f"once more with {AGAIN:,} replicates and the next seed, which decides; both stand here.",
        "",
        f"NumPy {np.__version__}, SciPy {scipy.__version__}, Python {sys.version.split()[0]}.",
        "",
        "| figure | expected | measured | limits | replicates | seed | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for i, line in enumerate(lines):
        last = i + 1 == len(lines) or lines[i + 1].row.name != line.row.name
        verdict = "inside" if line.inside else ("OUTSIDE" if last else "run again")
        text.append(
            f"| {line.row.name} | {signs[line.row.kind]}{line.row.figure:.4g} "
            f"| {line.measured:.4f} | {line.low:.4f} to {line.high:.4f} "
            f"| {line.replicates:,} | {line.seed} | {verdict} |"
        )
    return "\n".join(text) + "\n"


def calibrate(keys: list[str] | None = None, processes: int = 2) -> tuple[list[Line], float]:
    """Run the studies in full on a pool of processes; return the lines and the seconds."""
    # Two processes with a threaded BLAS each would fight over the cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    chosen, start = keys or list(STUDIES), time.perf_counter()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(lines_of, chosen))
    return [line for part in parts for line in part], time.perf_counter() - start


def main(arguments: list[str]) -> int:
    """Write the table to the path given (or print it); exit status 1 if a figure fails."""
    lines, seconds = calibrate(arguments[1:] or None)
    page = table(lines)
    if arguments and arguments[0] != "-":
        Path(arguments[0]).write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)
    print(f"{len(lines)} figures in {seconds / 60:.1f} minutes", file=sys.stderr)
    return 0 if passed(lines) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
