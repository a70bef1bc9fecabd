"""Gradient descent on a least-squares problem: the curvature, and the steps that it needs.

The mean squared error of a linear model is a quadratic, so that gradient descent on it is known
in closed form: along eigenvector i of the Hessian the error shrinks by the factor 1 − η·λ_i in
every step. With η = 1/λ_max the slowest direction keeps 1 − 1/κ of its error, where the condition
number is κ = λ_max/λ_min (LeCun, Kanter & Solla 1991, Phys. Rev. Lett. 66:2396; Boyd &
Vandenberghe 2004, Convex Optimization, section 9.3). Centred and equally scaled inputs make κ
small (LeCun, Bottou, Orr & Müller 1998, Efficient BackProp, section 4.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf, log

import numpy as np
from numpy.typing import ArrayLike

from normbench.stats.checks import FloatArray, check_positive, fault

#: Eigenvalues below this share of the largest count as 0: their directions change no prediction.
_FLAT = 1e-12


@dataclass(frozen=True)
class Quadratic:
    """L(w) = least + ½·(w − minimum)ᵀ·hessian·(w − minimum).

    ``hessian`` has shape (p, p), ``minimum`` (p,); of several minima it is the shortest.
    """

    hessian: FloatArray
    minimum: FloatArray
    least: float

    @cached_property
    def _spectrum(self) -> tuple[FloatArray, FloatArray]:
        values, vectors = np.linalg.eigh(self.hessian)
        return np.where(values > _FLAT * values[-1], values, 0.0), vectors

    @property
    def eigenvalues(self) -> FloatArray:
        """The Hessian's eigenvalues (p,), increasing; those of flat directions are exactly 0."""
        return self._spectrum[0]

    @property
    def largest(self) -> float:
        """λ_max, the curvature of the steepest direction."""
        return float(self.eigenvalues[-1])

    @property
    def condition(self) -> float:
        """κ = λ_max/λ_min; infinite where a direction is flat."""
        smallest = float(self.eigenvalues[0])
        return self.largest / smallest if smallest > 0 else inf

    def excess(self, weights: ArrayLike) -> FloatArray:
        """L(w) − L* of weights (…, p), shape (…)."""
        away = np.asarray(weights, dtype=np.float64) - self.minimum
        found: FloatArray = 0.5 * np.einsum("...i,ij,...j->...", away, self.hessian, away)
        return found

    def _parts(self, start: ArrayLike) -> FloatArray:
        """The excess at ``start`` along each eigenvector: they sum up to all of it."""
        values, vectors = self._spectrum
        along = (np.asarray(start, dtype=np.float64) - self.minimum) @ vectors
        parts: FloatArray = 0.5 * values * along**2
        return parts

    def _shrinking(self, rate: float) -> FloatArray:
        """The factor by which a step multiplies the error along each eigenvector."""
        kept: FloatArray = 1.0 - check_positive(rate, "rate") * self.eigenvalues / self.largest
        return kept

    def path(self, start: ArrayLike, steps: int, rate: float = 1.0) -> FloatArray:
        """The weights (steps + 1, p) of gradient descent; ``rate`` is in units of 1/λ_max."""
        _, vectors = self._spectrum
        along = (np.asarray(start, dtype=np.float64) - self.minimum) @ vectors
        kept = self._shrinking(rate) ** np.arange(steps + 1)[:, None]
        found: FloatArray = self.minimum + (kept * along) @ vectors.T
        return found

    def curve(self, start: ArrayLike, steps: ArrayLike, rate: float = 1.0) -> FloatArray:
        """L − L* after each number of steps, in the shape of ``steps``, from ``start`` (p,)."""
        kept = self._shrinking(rate) ** 2
        counts = np.asarray(steps, dtype=np.float64)[..., None]
        found: FloatArray = (self._parts(start) * kept**counts).sum(axis=-1)
        return found

    def steps_to(self, level: float, start: ArrayLike, rate: float = 1.0) -> float:
        """The fewest whole steps after which L − L* is at most ``level``.

        ``rate`` is in units of 1/λ_max; from 2 on gradient descent does not converge, and the
        answer is infinite unless the start is good enough.

        Raises:
            StatisticsError: a level or a rate that is not above 0.
        """
        check_positive(level, "level")
        if self.curve(start, 0) <= level:
            return 0.0
        if rate >= 2.0:
            return inf
        high = 1
        while self.curve(start, high, rate) > level:
            high *= 2
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            if self.curve(start, middle, rate) > level:
                low = middle
            else:
                high = middle
        return float(high)


def squared_error(inputs: ArrayLike, labels: ArrayLike) -> Quadratic:
    """The mean squared error of x·w + b as a quadratic in (w, b).

    Args:
        inputs: shape (items, features), as the model takes them.
        labels: shape (items,).

    Raises:
        StatisticsError: shapes that do not fit, or numbers that are not finite.
    """
    x, y = np.asarray(inputs, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if x.ndim != 2 or y.shape != x.shape[:1] or len(y) == 0:
        raise fault(
            "inputs must be (items, features) and labels (items,)",
            f"{x.shape} and {y.shape}",
            "flatten the features of each item",
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise fault("inputs and labels must be finite", "NaN or ∞", "leave such items out")
    full = np.column_stack([x, np.ones(len(x))])
    minimum: FloatArray = np.asarray(np.linalg.lstsq(full, y, rcond=None)[0], dtype=np.float64)
    hessian = 2.0 / len(x) * (full.T @ full)
    return Quadratic(hessian, minimum, float(((full @ minimum - y) ** 2).mean()))


def rule_of_thumb(condition: float, tolerance: float, rate: float = 1.0) -> float:
    """κ·ln(1/tolerance)/(2·rate): about the steps to a share of the starting excess.

    ``rate`` is in units of 1/λ_max. The rule holds where the flattest direction has all of the
    excess: at rate 1, (1 − 1/κ)^(2t) = tolerance, and ln(1 − 1/κ) is about −1/κ. Other starts need
    fewer steps. Above rate 1 the steepest direction overshoots and keeps rate − 1 of its error; the
    slower of the two counts. From rate 2 on it never settles.

    Raises:
        StatisticsError: a condition number, a tolerance or a rate that is not above 0.
    """
    wanted = max(0.0, log(1.0 / check_positive(tolerance, "tolerance")) / 2.0)
    flattest = condition if condition == inf else check_positive(condition, "condition")
    if flattest == inf or check_positive(rate, "rate") >= 2.0:
        return inf
    steepest = wanted / -log(rate - 1.0) if rate > 1.0 else 0.0
    return max(flattest * wanted / rate, steepest)
