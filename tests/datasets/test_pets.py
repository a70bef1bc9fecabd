"""Drawn pets: frozen, the same however they are asked for, and not to be told by colour."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time

import numpy as np
import pytest

from normbench.catalog import DATASETS
from normbench.datasets import pets as module
from normbench.datasets.canvas import Raster, cloud, ellipse, scene, segment, triangle
from normbench.datasets.pets import PETS, draw, species
from normbench.datasets.traits import CAT, DOG, draw_traits

#: SHA-256 of the first 16 pictures, as drawn by numpy 1.26.4 and 2.4.6, with and without AVX.
FROZEN = {
    32: "7dc2b119f42802f034643aa5e5bb59f12758d4e28c4715bf45fd6cfa21eafe24",
    64: "3de1c74f30168ce624e57ceb904923b49eaee11b113e7fcd59c9933d5265b267",
}
N = 800


def load(items=50, resolution=32, version=1):
    return PETS.load({"items": items, "resolution": resolution, "version": version})


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    return np.stack([draw(1, i, 32) for i in range(N)]), np.array([species(1, i) for i in range(N)])


@pytest.mark.parametrize("resolution", FROZEN)
def test_version_1_is_frozen(resolution):
    pictures = np.stack([draw(1, i, resolution) for i in range(16)])
    assert hashlib.sha256(pictures.tobytes()).hexdigest() == FROZEN[resolution]


def test_species_of_version_1_are_frozen():
    assert [species(1, i) for i in range(16)] == [0, 1, 0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0]


def test_a_data_set_is_its_items(drawn):
    found = load(60)
    assert found.inputs.shape == (60, 3, 32, 32)
    assert found.inputs.dtype == np.uint8
    assert found.labels.dtype == np.int64
    assert found.classes == 2
    assert np.array_equal(found.inputs, drawn[0][:60])
    assert np.array_equal(found.labels, drawn[1][:60])


def test_an_item_does_not_depend_on_how_many_are_asked_for():
    few, more = load(50), load(75)
    assert np.array_equal(few.inputs, more.inputs[:50])
    assert np.array_equal(few.labels, more.labels[:50])
    assert few.key != more.key


def test_an_item_does_not_depend_on_what_was_drawn_before():
    alone = draw(1, 9, 32)
    for i in (3, 9, 1):
        draw(1, i, 32)
    np.random.default_rng(0).random(5)
    assert np.array_equal(draw(1, 9, 32), alone)


def test_another_process_with_other_threads_draws_the_same(tmp_path):
    code = (
        "import os, sys; os.environ['NORMBENCH_CACHE'] = sys.argv[1]\n"
        "from normbench.datasets import parallel, pets\n"
        "parallel.usable_cores = lambda: 1\n"
        "a = pets.PETS.load({'items': 50, 'resolution': 32, 'version': 1})\n"
        "import hashlib; print(hashlib.sha256(a.inputs.tobytes()).hexdigest())\n"
        "print('torch' in sys.modules or 'PIL' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "other")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [
        hashlib.sha256(load(50).inputs.tobytes()).hexdigest(), "False",
    ]  # fmt: skip


def test_the_second_start_draws_nothing(monkeypatch):
    first = load()
    monkeypatch.setattr(module, "draw", None)
    assert np.array_equal(load().inputs, first.inputs)
    assert not first.inputs.flags.owndata


def test_pets_are_never_missing():
    assert PETS.missing({"items": 50, "resolution": 32, "version": 1}) is None


def test_there_is_one_version():
    version = DATASETS["pets"].params["version"]
    assert (version.at_least, version.at_most) == (1, 1)


@pytest.mark.parametrize("resolution", [32, 64, 128])
@pytest.mark.parametrize("item", [0, 5])
def test_every_resolution_shows_the_same_scene(item, resolution):
    def coarse(side):
        blocks = draw(1, item, side).reshape(3, 8, side // 8, 8, side // 8)
        return blocks.mean(axis=(2, 4))

    assert np.abs(coarse(resolution) - coarse(256)).mean() < 6
    assert np.abs(coarse(resolution) - coarse(256)[:, ::-1]).mean() > 12  # the check sees another


@pytest.mark.parametrize("resolution", [32, 33, 50, 101, 256])
def test_any_resolution_can_be_drawn(resolution):
    image = draw(1, 2, resolution)
    assert image.shape == (3, resolution, resolution)
    assert image.std() > 5


# -- nothing trivial tells cats from dogs -------------------------------------------------------


def folds(n: int, k: int = 5):
    order = np.random.default_rng(0).permutation(n)
    for part in np.array_split(order, k):
        yield np.setdiff1d(order, part), part


def linear_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Held-out accuracy of the least-squares classifier (Fisher's, for equal classes)."""
    x = np.c_[np.ones(len(features)), (features - features.mean(0)) / features.std(0)]
    hits = []
    for train, test in folds(len(labels)):
        weights, *_ = np.linalg.lstsq(x[train], 2.0 * labels[train] - 1.0, rcond=None)
        hits.append((x[test] @ weights > 0) == labels[test])
    return float(np.concatenate(hits).mean())


def test_the_check_sees_a_leak(drawn):
    images, labels = drawn
    leaking = images.mean(axis=(2, 3)) + 40.0 * labels[:, None]
    assert linear_accuracy(leaking, labels) > 0.62


def test_mean_colour_and_contrast_do_not_tell(drawn):
    images, labels = drawn
    colour, spread = images.mean(axis=(2, 3)), images.std(axis=(2, 3))
    assert linear_accuracy(colour, labels) < 0.62
    assert linear_accuracy(np.c_[colour, colour**2, spread], labels) < 0.62


def test_the_nearest_mean_picture_does_not_tell(drawn):
    images, labels = drawn[0].reshape(N, -1).astype(float), drawn[1]
    hits = []
    for train, test in folds(N):
        means = [images[train][labels[train] == k].mean(axis=0) for k in (CAT, DOG)]
        cat, dog = (((images[test] - m) ** 2).sum(axis=1) for m in means)
        hits.append((dog < cat) == labels[test])
    assert np.concatenate(hits).mean() < 0.62


def test_the_order_does_not_tell(drawn):
    labels = drawn[1]
    assert labels.sum() == N // 2
    position = np.arange(N)
    # half of the items, the odd ones, every fourth pair, what was two before
    for guess in (position < N // 2, position % 2, position // 8 % 2, np.roll(labels, 2)):
        assert 0.40 < (guess == labels).mean() < 0.60


def test_both_species_differ_in_shape():
    rng = np.random.default_rng(0)
    cats, dogs = ([draw_traits(rng, kind) for _ in range(200)] for kind in (CAT, DOG))
    assert np.mean([t.muzzle[1] for t in cats]) < np.mean([t.muzzle[1] for t in dogs])
    assert {t.ears for t in cats} == {"pointed", "tipped"}
    assert {t.ears for t in dogs} == {"pointed", "tipped", "drop"}


def test_drawing_is_quick():
    started = time.process_time()
    for i in range(40):
        draw(1, i, 64)
    assert (time.process_time() - started) / 40 * 2000 < 60


# -- the painter --------------------------------------------------------------------------------


def test_distances_are_those_of_geometry():
    f = scene(64)
    middle = (0.5, 0.5)
    circle = ellipse(f, middle, (0.2, 0.2))
    assert np.allclose(circle, np.hypot(f.u - 0.5, f.v - 0.5) - 0.2)
    line = segment(f, (0.2, 0.5), (0.8, 0.5), 0.1)
    inside = (f.u > 0.2) & (f.u < 0.8)
    assert np.allclose(line[inside], np.abs(f.v - 0.5)[inside] - 0.05)
    for turned in (False, True):
        corners = [(0.1, 0.1), (0.9, 0.1), (0.1, 0.9)]
        area = (triangle(f, *(corners[::-1] if turned else corners)) < 0).mean()
        assert area == pytest.approx(0.32, abs=0.01)


def test_a_window_shows_the_same_as_the_whole():
    whole, part = Raster(64), Raster(64)
    colour = np.array([1.0, 0.5, 0.2])
    f = whole.frame.moved((0.6, 0.3), 0.2, 0.7).moved((0.3, 0.1), 1.0, -0.2)
    near = f.near((0.4, -0.2), 0.6)
    assert near.u.size < f.u.size / 2
    whole.fill(f, ellipse(f, (0.4, -0.2), (0.5, 0.3)), colour)
    part.fill(near, ellipse(near, (0.4, -0.2), (0.5, 0.3)), colour)
    assert whole.pixels.max() == 1.0
    assert np.allclose(whole.pixels, part.pixels)


@pytest.mark.parametrize("point", [(-3.0, 0.5), (0.5, 9.0), (1.0, 1.0), (0.0, 0.0)])
def test_a_window_may_lie_off_the_picture(point):
    canvas = Raster(32)
    near = canvas.frame.near(point, 0.01)
    canvas.fill(near, ellipse(near, point, (0.01, 0.01)), np.ones(3))
    assert np.isfinite(canvas.pixels).all()


def test_clouds_are_smooth_and_bounded():
    f = scene(128)
    found = cloud(f, np.random.default_rng(1), 4.0, 1)
    assert np.abs(found).max() <= 1.0
    assert found.std() > 0.1
    assert np.abs(np.diff(found, axis=0)).max() < 0.15
