"""Simulated studies of which a page speaks by itself: what it would say, and whether it is true."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from normbench.stats.automatic import Budget, decided, may_be_best, within_from, worse_up_to
from normbench.stats.smallbatch import contrast_of

NORMS, SIZES, SEEDS = ("ref", "x", "y", "z"), (2, 8, 32, 128), 12
#: The declared difference that still counts as no worse, in deviations of a run.
DELTA = 1.0

#: Noise of every run, shape (norms, sizes, seeds), of mean 0.
Noise = Callable[[np.random.Generator], np.ndarray]
SHAPE = (len(NORMS), len(SIZES), SEEDS)


def normal(rng):
    return rng.standard_normal(SHAPE)


def heavy(rng):
    return rng.standard_t(3, SHAPE) / 3**0.5


def skewed(rng):
    spread = ((np.exp(0.64) - 1) * np.exp(0.64)) ** 0.5
    return (rng.lognormal(0, 0.8, SHAPE) - np.exp(0.32)) / spread


def unequal_skew(rng):
    """Two norms with three times the spread: equal means are not equal distributions."""
    return skewed(rng) * np.array([1.0, 3.0, 3.0, 1.0])[:, None, None]


def tied(rng):
    """Shares of 200 items."""
    return (rng.binomial(200, 0.1, SHAPE) - 20) / 3.0


def diverging(rng):
    """One run of five diverges, whatever its norm."""
    return rng.standard_normal(SHAPE) + 8.0 * ((rng.random(SHAPE) < 0.2) - 0.2)


def one_diverges(rng):
    """One run of five of a single norm diverges; its mean is kept equal."""
    lost = 8.0 * ((rng.random(SHAPE) < 0.2) - 0.2)
    lost[[0, 2, 3]] = 0.0
    return rng.standard_normal(SHAPE) + lost


def truth(*worse: int, gap: float = 2.5, last: float = 0.0) -> np.ndarray:
    """Mean errors, shape (norms, sizes): these norms lose ``gap`` at 2 and none at 128."""
    means = np.zeros((len(NORMS), len(SIZES)))
    shape = (1 / np.array(SIZES) - 1 / SIZES[-1]) / (1 / SIZES[0] - 1 / SIZES[-1])
    for norm in worse:
        means[norm] = gap * shape
    means[list(worse), -1] += last
    return means


def at_delta() -> np.ndarray:
    """Two norms exactly at δ from 32 on, and worse below."""
    means = truth(1, 2, gap=4.0)
    means[1:3, 2:] = DELTA
    return means


@dataclass(frozen=True)
class Said:
    """What is said of one study and false, by its family; and what was decided of norm x."""

    pairs: bool
    contrasts: bool
    crossover: bool
    best: bool
    contradiction: bool
    contrast_found: bool

    @property
    def any(self) -> bool:
        return self.pairs or self.contrasts or self.crossover or self.best


def study(means: np.ndarray, noise: np.ndarray, alpha: float = 0.05) -> Said:
    """All statements on one experiment; ``noise`` has shape (norms, sizes, seeds)."""
    errors, budget = means[:, :, None] + noise, Budget.of(alpha)
    places = [(k, i, j) for k in range(len(SIZES)) for i, j in
              itertools.combinations(range(len(NORMS)), 2)]  # fmt: skip
    d = np.stack([errors[j, k] - errors[i, k] for k, i, j in places], axis=1)
    better = decided(d, budget.pairs)
    real = np.array([np.sign(round(means[j, k] - means[i, k], 9)) for k, i, j in places])
    wrong_pair = bool(((better != 0) & (better != real)).any())
    lost = [{(NORMS[j], NORMS[i]) if s > 0 else (NORMS[i], NORMS[j])
             for (k, i, j), s in zip(places, better, strict=True) if s and k == size}
            for size in range(len(SIZES))]  # fmt: skip
    best = [may_be_best(NORMS, pairs) for pairs in lost]
    true_best = [{NORMS[i] for i in range(len(NORMS)) if means[i, k] <= means[:, k].min() + 1e-9}
                 for k in range(len(SIZES))]  # fmt: skip
    missed = any(not wanted <= set(found) for wanted, found in zip(true_best, best, strict=True))
    extra = [(errors[i] - errors[0]).T for i in range(1, len(NORMS))]
    contrasts = np.stack([contrast_of((e,), list(SIZES)) for e in extra], axis=1)
    slopes = decided(contrasts, budget.contrasts)
    real_slope = np.sign(
        [np.round(contrast_of(((means[i] - means[0])[None],), list(SIZES))[0], 9)
         for i in range(1, len(NORMS))]
    )  # fmt: skip
    wrong_slope = bool(((slopes != 0) & (slopes != real_slope)).any())
    wrong_crossing = contradiction = False
    for i, columns in enumerate(extra, start=1):
        beaten = [(NORMS[i], NORMS[0]) in pairs for pairs in lost]
        up_to = worse_up_to(SIZES, beaten)
        gap = means[i] - means[0]
        if up_to is not None:
            wrong_crossing |= any(g <= 1e-9 for g, b in zip(gap, SIZES, strict=True) if b <= up_to)
        if slopes[i - 1] == 0:
            continue
        first = within_from(columns, SIZES, DELTA, alpha=budget.sequence(len(NORMS)))
        if first is not None:
            wrong_crossing |= any(
                g >= DELTA - 1e-9 for g, b in zip(gap, SIZES, strict=True) if b >= first
            )
    for pairs, found in zip(lost, best, strict=True):
        contradiction |= any(a in found and b in found for a, b in pairs)
        contradiction |= (len(found) == len(NORMS)) != (not pairs)
    return Said(
        wrong_pair, wrong_slope, wrong_crossing, missed, contradiction, bool(slopes[0] == 1)
    )


def rates(means: np.ndarray, noise: Noise, rng: np.random.Generator, studies: int) -> dict:
    """The share of studies with a false statement of each kind."""
    found = [study(means, noise(rng)) for _ in range(studies)]
    names = ("any", "pairs", "contrasts", "crossover", "best", "contradiction", "contrast_found")
    return {name: float(np.mean([getattr(one, name) for one in found])) for name in names}


#: What is true, by what it is called.
TRUTHS = {
    "no norm worse": truth(),
    "one norm worse, equal at the largest size": truth(1),
    "two norms worse, equal at the largest size": truth(1, 2),
    "two norms at δ from 32 on": at_delta(),
}
#: The noises under which all that is said stays within the error rate.
CONTROLLED = {
    "normal": normal, "t₃": heavy, "skewed": skewed, "k/200 with ties": tied,
    "20 % divergence": diverging,
}  # fmt: skip
#: Those under which it does not: equal means are not equal distributions.
NOT_CONTROLLED = {"unequal skew": unequal_skew, "divergence of one norm": one_diverges}


def contrast_power(rng: np.random.Generator, studies: int, gap: float = 1.8) -> list[float]:
    """How often a norm's degradation is found, at all, half and a quarter of 5 %."""
    means, hits = truth(1, gap=gap), np.zeros(3)
    for _ in range(studies):
        errors = means[:, :, None] + normal(rng)
        found = [contrast_of(((errors[i] - errors[0]).T,), list(SIZES)) for i in (1, 2, 3)]
        columns = np.stack(found, axis=1)
        hits += [decided(columns, level)[0] == 1 for level in (0.05, 0.025, 0.0125)]
    return (hits / studies).tolist()
