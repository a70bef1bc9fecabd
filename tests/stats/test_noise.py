import numpy as np
import pytest

from normbench.errors import StatisticsError
from normbench.stats import seed_noise


def test_by_hand():
    bits = np.array([[1, 1, 0, 1], [1, 0, 0, 0]])
    result = seed_noise(bits)
    # Items 2 and 4 have p = ½: Σ p(1 − p) · 2/1 / 16 = 1/16; accuracies ¾ and ¼.
    assert result.details["test_set_variance"] == pytest.approx(1 / 16)
    assert result.details["total_variance"] == pytest.approx(1 / 8)
    assert result.estimate == pytest.approx(1 / 16)
    assert result.values == (0.75, 0.25)


def test_parts_are_recovered_without_bias():
    rng = np.random.default_rng(1)
    difficulty = rng.normal(1.5, 1.5, 400)
    estimates, noise = [], []
    for _ in range(400):
        quality = rng.normal(0, 0.2, 12)
        p = 1 / (1 + np.exp(-(difficulty[None, :] + quality[:, None])))
        result = seed_noise(rng.random((12, 400)) < p)
        estimates.append(result.estimate)
        noise.append(result.details["test_set_variance"])
    grid = rng.normal(0, 0.2, 20_000)
    p = 1 / (1 + np.exp(-(difficulty[None, :] + grid[:, None])))
    between, within = p.mean(axis=1).var(), (p * (1 - p)).mean(axis=0).sum() / 400**2
    # Seeds also move items apart from one another, which counts as test-set noise.
    own = p.var(axis=0).sum() / 400**2
    assert np.mean(noise) == pytest.approx(within + own, rel=0.01)
    error = np.std(estimates) / 20
    assert abs(np.mean(estimates) - (between - own)) < 4 * error


def test_noise_alone_leaves_nothing_for_the_seeds_and_is_said_so():
    result = seed_noise([[1, 0, 1, 0], [0, 1, 0, 1]])
    assert result.estimate < 0
    assert result.details["seed_sd"] == 0.0
    assert "no larger than test-set noise" in str(result.warnings[0])


def test_bad_bits_are_refused():
    with pytest.raises(StatisticsError, match="0 or 1 per seed"):
        seed_noise([[0.5, 1.0], [1.0, 0.0]])
    with pytest.raises(StatisticsError, match="at least two seeds"):
        seed_noise([[1, 0, 1]])
