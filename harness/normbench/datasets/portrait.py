"""Painting one animal: background, body, head, what stands in front, light and noise.

Nothing here asks for the species; only :mod:`normbench.datasets.traits` does. Coats,
backgrounds, poses and light are drawn from the same distributions for cats and dogs, so that
neither mean colour nor position tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from normbench.datasets import canvas as cv
from normbench.datasets.canvas import Colour, Field, Frame, Point, Raster
from normbench.datasets.traits import Traits, draw_traits

#: Coat colours from black over greys, browns, ginger and cream to white.
COATS = (
    (0.09, 0.08, 0.08), (0.22, 0.21, 0.22), (0.45, 0.44, 0.45), (0.66, 0.65, 0.64),
    (0.92, 0.91, 0.88), (0.86, 0.76, 0.60), (0.72, 0.52, 0.32), (0.76, 0.45, 0.18),
    (0.45, 0.28, 0.16), (0.26, 0.16, 0.10),
)  # fmt: skip
DARK = np.array([0.06, 0.05, 0.05])
PINK = np.array([0.82, 0.52, 0.50])
TONGUE = np.array([0.80, 0.36, 0.38])
WHITE = np.full(3, 0.95)


@dataclass(frozen=True)
class Pose:
    """Where the head is and how it is turned; angles in radians, lengths in scene units."""

    centre: Point
    scale: float
    roll: float
    yaw: float
    pitch: float

    def at(self, u: float, v: float, depth: float) -> Point:
        """Where a point of the head, ``depth`` in front of its middle, is seen (head units)."""
        return (
            u * float(np.cos(self.yaw)) + depth * float(np.sin(self.yaw)),
            v + depth * float(np.sin(self.pitch)),
        )


def _jitter(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    shifted = colour + rng.uniform(-amount, amount, 3) * 0.5 + rng.uniform(-amount, amount)
    return np.clip(shifted, 0.02, 0.98)


def _any_colour(rng: np.random.Generator) -> Colour:
    grey, tint = rng.uniform(0.08, 0.92), rng.uniform(-0.22, 0.22, 3)
    return np.clip(grey + tint, 0.02, 0.98)


def _coat(rng: np.random.Generator, f: Frame) -> Field:
    """The colour of the coat at every pixel, (3, R, R): plain, patched or striped."""
    base = _jitter(rng, np.array(COATS[int(rng.integers(len(COATS)))]), 0.06)
    second = _jitter(rng, np.array(COATS[int(rng.integers(len(COATS)))]), 0.06)
    kind, strength = rng.uniform(), rng.uniform(0.35, 0.9)
    patches = cv.cloud(f, rng, rng.uniform(0.7, 1.3), 1)
    waves = cv.cloud(f, rng, 1.2, 1)
    angle, density = rng.uniform(-0.6, 0.6), rng.uniform(8.0, 14.0)
    stripes = np.sin(density * (f.v + angle * f.u) + 3.0 * waves)
    fur = cv.cloud(f, rng, rng.uniform(5.0, 9.0), 2)
    share = np.zeros(f.u.shape)
    if kind < 0.35:
        share = np.clip(4.0 * patches, 0.0, 1.0) * strength
    elif kind < 0.65:
        share = np.clip(1.5 * stripes, 0.0, 1.0) * strength
        second = np.clip(base * rng.uniform(0.35, 0.75), 0.0, 1.0)
    colour = base[:, None, None] + share * (second - base)[:, None, None]
    return np.clip(colour + 0.05 * fur, 0.0, 1.0)


def _clutter(c: Raster, rng: np.random.Generator, count: int, size: tuple[float, float]) -> None:
    """Plain things of any colour anywhere: discs, bars and triangles."""
    for _ in range(count):
        kind, colour = int(rng.integers(3)), _any_colour(rng)
        x, y = (float(p) for p in rng.uniform(-0.05, 1.05, 2))
        r, s, t = (float(p) for p in rng.uniform(*size, 3))
        angle, opacity = rng.uniform(0, np.pi), rng.uniform(0.6, 1.0)
        g = c.frame.near((x, y), 2.0 * r + s + t).moved((x, y), 1.0, angle)
        if kind == 0:
            d = cv.ellipse(g, (0.0, 0.0), (r, s))
        elif kind == 1:
            d = cv.segment(g, (-2 * r, 0.0), (2 * r, 0.0), s)
        else:
            d = cv.triangle(g, (-r, s), (r, s), (0.5 * (t - r), -s))
        c.fill(g, d, colour, opacity)


def _background(c: Raster, rng: np.random.Generator) -> None:
    one, two, low = _any_colour(rng), _any_colour(rng), _any_colour(rng)
    mix = np.clip(0.5 + 0.5 * cv.cloud(c.frame, rng, rng.uniform(1.0, 4.0), 2), 0.0, 1.0)
    c.pixels[:] = one[:, None, None] + mix * (two - one)[:, None, None]
    horizon, slope = rng.uniform(0.5, 1.1), rng.uniform(-0.15, 0.15)
    above = horizon + slope * (c.frame.u - 0.5) - c.frame.v
    c.fill(c.frame, above, low, rng.uniform(0.4, 1.0))
    _clutter(c, rng, int(rng.integers(1, 6)), (0.03, 0.20))


def _body(c: Raster, rng: np.random.Generator, pose: Pose, coat: Field, light: Point) -> None:
    side = rng.uniform(-0.9, 0.9)
    wide, tall = rng.uniform(0.75, 1.25), rng.uniform(1.2, 1.9)
    f = c.frame.moved(pose.centre, pose.scale, 0.3 * pose.roll)
    d = cv.ellipse(f, (side * 0.6, 0.7 + tall), (wide, tall), 0.2 * side)
    chest = cv.ellipse(f, (side * 0.2, 1.1), (0.62 * wide, 0.8))
    d = cv.joined(d, chest, 0.4) + 0.04 * cv.cloud(f, rng, 4.0, 1)
    shade = np.clip(1.0 - 0.15 * (light[0] * f.u + light[1] * f.v), 0.4, 1.3)
    c.fill(f, d, coat * (shade * rng.uniform(0.75, 1.0)), soft=0.05)


def _hanging_ear(f: Frame, pose: Pose, t: Traits, side: float) -> Field:
    """The shape of an ear that hangs in front of the head."""
    rx, ry = t.head
    top = pose.at(side * (t.ear_place + 0.22) * rx, -0.62 * ry, 0.0)
    low = pose.at(side * (rx + 0.22), -0.62 * ry + t.ear_height, -0.05)
    along = float(np.arctan2(low[0] - top[0], low[1] - top[1]))
    middle = (0.5 * (top[0] + low[0]), 0.5 * (top[1] + low[1]))
    long = 0.5 * float(np.hypot(low[0] - top[0], low[1] - top[1])) + 0.12
    return cv.ellipse(f, middle, (0.5 * t.ear_width, long), -along)


def _standing_ear(
    c: Raster, f: Frame, pose: Pose, t: Traits, side: float, inner: Colour, coat: Field
) -> None:
    """An ear behind the head: pointed, or with its upper half folded forwards and outwards."""
    base = pose.at(side * t.ear_place * t.head[0], -0.62 * t.head[1], -0.10)
    half = 0.5 * t.ear_width * (0.75 + 0.25 * float(np.cos(pose.yaw)))
    lean = 0.16 * side
    a, b = (base[0] - half, base[1] + 0.18), (base[0] + half, base[1] + 0.18)
    f = f.near(base, t.ear_height + 0.3)
    if t.ears == "pointed":
        tip = (base[0] + lean, base[1] - t.ear_height)
        c.fill(f, cv.triangle(f, a, b, tip, 0.05), coat, soft=0.04)
        a, b, tip = (
            (base[0] + 0.55 * (p[0] - base[0]), base[1] + 0.62 * (p[1] - base[1]))
            for p in (a, b, tip)
        )
        c.fill(f, cv.triangle(f, a, b, tip, 0.02), inner, 0.75, soft=0.05)
        return
    knee = (base[0] + 0.6 * lean, base[1] - 0.5 * t.ear_height)
    fold = (knee[0] + 0.30 * side, knee[1] + 0.42 * t.ear_height)
    c.fill(f, cv.triangle(f, a, b, knee, 0.10), coat, soft=0.04)
    left, right = (knee[0] - 0.7 * half, knee[1]), (knee[0] + 0.7 * half, knee[1])
    c.fill(f, cv.triangle(f, left, right, fold, 0.07), coat * 0.75, soft=0.04)


def _eyes(c: Raster, f: Frame, pose: Pose, t: Traits, slant: float, lid: float) -> None:
    for side in (-1.0, 1.0):
        at = pose.at(side * t.eye_gap * t.head[0], -0.10 * t.head[1], 0.45)
        r = t.eye
        wide = r * (0.7 + 0.3 * float(np.cos(pose.yaw)))
        tall = r * lid
        turn = -side * slant
        g = f.near(at, 1.3 * r)
        c.fill(g, cv.ellipse(g, at, (1.2 * wide, 1.25 * tall), turn), DARK, 0.8)
        c.fill(g, cv.ellipse(g, at, (wide, tall), turn), t.iris)
        c.fill(g, cv.ellipse(g, at, (wide * t.pupil, tall * 0.92)), DARK)
        glint = (at[0] - 0.3 * r, at[1] - 0.35 * r)
        c.fill(g, cv.ellipse(g, glint, (0.2 * r, 0.2 * r)), WHITE, 0.9)


def _muzzle(
    c: Raster, rng: np.random.Generator, f: Frame, pose: Pose, t: Traits, coat: Field
) -> None:
    wide, tall = t.muzzle
    reach = 0.45 + tall
    at = pose.at(0.0, t.muzzle_drop, reach)
    f = f.near(at, 1.3)
    left = cv.ellipse(f, (at[0] - 0.5 * wide, at[1]), (0.62 * wide, tall), 0.15)
    right = cv.ellipse(f, (at[0] + 0.5 * wide, at[1]), (0.62 * wide, tall), -0.15)
    d = cv.joined(left, right, 0.1)
    c.fill(f, d - 0.04, coat * 0.72, 0.6, soft=0.10)
    c.fill(f, d, np.clip(coat + rng.uniform(-0.15, 0.30), 0.02, 0.98), soft=0.06)
    low = (at[0], at[1] + 0.55 * tall)
    tip = (low[0] + rng.uniform(-0.05, 0.05), low[1] + 0.30)
    if t.tongue:
        c.fill(f, cv.ellipse(f, tip, (0.14, 0.28)), TONGUE)
    nose = pose.at(0.0, t.muzzle_drop - 0.62 * tall, reach + 0.1)
    for side in (-1.0, 1.0):
        corner = (at[0] + side * 0.75 * wide, low[1] + 0.02)
        c.fill(f, cv.segment(f, low, corner, 0.05), DARK, 0.6)
    c.fill(f, cv.segment(f, nose, low, 0.05), DARK, 0.6)
    _nose(c, f.near(nose, 0.3), nose, t)
    hair = np.full(3, rng.choice([0.08, 0.92]))
    for side in (-1.0, 1.0):
        for rise in rng.uniform(-0.28, 0.18, 3):
            start = (at[0] + side * 0.6 * wide, at[1] - 0.2 * tall + 0.2 * rise)
            end = (start[0] + side * 0.95, start[1] + rise)
            c.fill(f, cv.segment(f, start, end, 0.015), hair, 0.5 * t.whiskers)


def _nose(c: Raster, f: Frame, at: Point, t: Traits) -> None:
    a, b = t.nose
    if t.nose_wedge:
        corners = (at[0] - a, at[1] - b), (at[0] + a, at[1] - b), (at[0], at[1] + b)
        d = cv.triangle(f, *corners, 0.02)
    else:
        d = cv.ellipse(f, at, (a, b))
    c.fill(f, d, DARK + t.nose_pink * (PINK - DARK))


def _head(
    c: Raster, rng: np.random.Generator, pose: Pose, t: Traits, whole: Frame, coat: Field
) -> None:
    inner = _jitter(rng, np.array([0.62, 0.44, 0.42]), 0.12)
    ear_coat = coat * rng.uniform(0.65, 1.0)
    rx, ry = t.head
    f = whole.near((0.0, 0.0), 2.0)
    edge = 0.035 * cv.cloud(f, rng, 5.0, 2)
    if t.ears != "drop":
        for side in (-1.0, 1.0):
            _standing_ear(c, f, pose, t, side, inner, ear_coat)
    skull = cv.ellipse(f, (0.0, 0.0), (rx * (0.85 + 0.15 * float(np.cos(pose.yaw))), ry))
    jowls = cv.ellipse(f, pose.at(0.0, 0.45 * ry, 0.25), (rx * (0.72 + t.cheeks), 0.52 * ry))
    d = cv.joined(skull, jowls, 0.2) + edge
    c.fill(f, d - 0.10, DARK, 0.35, soft=0.35)  # the shadow that it casts
    c.fill(f, d, coat, soft=0.05)
    if t.ears == "drop":
        for side in (-1.0, 1.0):
            ear = _hanging_ear(f, pose, t, side)
            c.fill(f, ear - 0.05, coat * 0.55, 0.5, soft=0.12)
            c.fill(f, ear + edge, ear_coat, soft=0.05)
    _eyes(c, f, pose, t, rng.uniform(0.0, 0.3), rng.uniform(0.55, 1.0))
    _muzzle(c, rng, f, pose, t, coat)


def _expose(c: Raster, rng: np.random.Generator, noise: np.random.Generator) -> None:
    """Light from one side, a colour cast, contrast and the sensor's noise."""
    u = rng.uniform
    angle, slope = u(0.0, 2.0 * np.pi), u(0.0, 0.6)
    gradient = np.cos(angle) * (c.frame.u - 0.5) + np.sin(angle) * (c.frame.v - 0.5)
    c.pixels *= 1.0 + slope * gradient
    contrast, level = u(0.6, 1.1), u(0.38, 0.62)
    c.pixels = (c.pixels - 0.5) * contrast + level
    c.pixels *= u(0.85, 1.15, 3)[:, None, None]
    grain = u(0.01, 0.035)
    # three uniform draws: near a normal draw, and the same bits on every platform
    for _ in range(3):
        c.pixels += (2.0 * grain) * (noise.random(c.pixels.shape) - 0.5)


def paint(
    rng: np.random.Generator, noise: np.random.Generator, species: int, resolution: int
) -> NDArray[np.uint8]:
    """One picture of shape (3, resolution, resolution), uint8, RGB.

    ``rng`` decides the scene and is drawn from alike at every resolution; ``noise`` gives the
    sensor's noise, pixel by pixel.
    """
    traits = draw_traits(rng, species)
    u = rng.uniform
    scale = u(0.19, 0.30)
    pose = Pose((u(0.35, 0.65), u(0.36, 0.58)), scale, u(-0.4, 0.4), u(-0.6, 0.6), u(-0.2, 0.2))
    c = Raster(resolution, softness=u(0.0, 0.02))
    _background(c, rng)
    f = c.frame.moved(pose.centre, pose.scale, pose.roll)
    coat = _coat(rng, f)
    angle = u(0.0, 2.0 * np.pi)
    light = (float(np.cos(angle)), float(np.sin(angle)))
    _body(c, rng, pose, coat, light)
    shade = np.clip(1.0 - 0.30 * (light[0] * f.u + light[1] * f.v), 0.45, 1.3)
    _head(c, rng, pose, traits, f, coat * shade)
    _clutter(c, rng, int(rng.integers(0, 3)), (0.02, 0.10))
    _expose(c, rng, noise)
    return np.rint(np.clip(c.pixels, 0.0, 1.0) * 255.0).astype(np.uint8)
