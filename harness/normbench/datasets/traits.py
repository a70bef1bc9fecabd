"""What tells a drawn cat from a drawn dog, and what does not.

The traits of :class:`Traits` are drawn from distributions of the species, which overlap (some
dogs have pointed ears, some cats folded ones). All else (coat, pose, light, background, what
stands in front) is drawn in :mod:`normbench.datasets.portrait` from the same distributions for
both. Lengths are in half-widths of a typical head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from normbench.datasets.canvas import Colour, Point

CAT, DOG = 0, 1
#: Iris colours: green, yellow, amber, blue, brown, dark brown.
IRIS = (
    (0.45, 0.62, 0.30), (0.80, 0.70, 0.25), (0.70, 0.45, 0.15),
    (0.45, 0.62, 0.80), (0.38, 0.22, 0.10), (0.20, 0.12, 0.07),
)  # fmt: skip


@dataclass(frozen=True)
class Traits:
    """The anatomy of one animal's head; ``ears`` is ``pointed``, ``tipped`` or ``drop``."""

    ears: str
    ear_height: float
    ear_width: float
    ear_place: float
    head: Point
    cheeks: float
    muzzle: Point
    muzzle_drop: float
    nose: Point
    nose_wedge: bool
    nose_pink: float
    eye: float
    eye_gap: float
    iris: Colour
    pupil: float
    whiskers: float
    tongue: float


def _cat(rng: np.random.Generator) -> Traits:
    u = rng.uniform
    return Traits(
        ears=("pointed", "tipped")[int(u() < 0.10)],
        ear_height=u(0.62, 1.00),
        ear_width=u(0.52, 0.74),
        ear_place=u(0.50, 0.64),
        head=(u(0.94, 1.06), u(0.78, 0.94)),
        cheeks=u(0.10, 0.30),
        muzzle=(u(0.30, 0.42), u(0.20, 0.30)),
        muzzle_drop=u(0.30, 0.42),
        nose=(u(0.08, 0.14), u(0.06, 0.10)),
        nose_wedge=bool(u() < 0.9),
        nose_pink=u(0.0, 1.0),
        eye=u(0.15, 0.23),
        eye_gap=u(0.36, 0.48),
        iris=np.array(IRIS[int(rng.choice(6, p=(0.34, 0.24, 0.18, 0.14, 0.07, 0.03)))]),
        pupil=u(0.22, 0.80),
        whiskers=u(0.2, 0.8),
        tongue=float(u() < 0.03),
    )


def _dog(rng: np.random.Generator) -> Traits:
    u = rng.uniform
    kind = u()
    ears = "drop" if kind < 0.60 else "tipped" if kind < 0.80 else "pointed"
    return Traits(
        ears=ears,
        ear_height=u(0.90, 1.40) if ears == "drop" else u(0.60, 1.05),
        ear_width=u(0.40, 0.62),
        ear_place=u(0.48, 0.70),
        head=(u(0.80, 0.96), u(0.84, 1.06)),
        cheeks=u(0.0, 0.15),
        muzzle=(u(0.38, 0.56), u(0.36, 0.58)),
        muzzle_drop=u(0.42, 0.68),
        nose=(u(0.13, 0.22), u(0.10, 0.16)),
        nose_wedge=bool(u() < 0.1),
        nose_pink=u(0.0, 0.35),
        eye=u(0.10, 0.16),
        eye_gap=u(0.34, 0.48),
        iris=np.array(IRIS[int(rng.choice(6, p=(0.01, 0.03, 0.12, 0.10, 0.37, 0.37)))]),
        pupil=u(0.55, 0.90),
        whiskers=u(0.0, 0.25),
        tongue=float(u() < 0.30),
    )


def draw_traits(rng: np.random.Generator, species: int) -> Traits:
    """The traits of one animal of the species (``CAT`` or ``DOG``)."""
    return _cat(rng) if species == CAT else _dog(rng)
