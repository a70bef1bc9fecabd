from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import nct, t

from normbench.errors import StatisticsError
from normbench.stats import minimum_detectable_effect, seeds_needed


def test_formula_for_eighty_and_ninety_percent():
    z = NormalDist().inv_cdf
    assert z(0.975) + z(0.8) == pytest.approx(2.80, abs=0.005)
    assert seeds_needed(1.0, 0.8).estimate == np.ceil((2.8015855 / 0.8) ** 2 + 2)
    assert seeds_needed(2.0, 1.0, power=0.9).estimate == np.ceil((3.2415155 * 2) ** 2 + 2)


def test_floors():
    assert seeds_needed(1.0, 100.0).estimate == 8
    assert seeds_needed(1.0, 100.0, claims=12).estimate == 9
    assert seeds_needed(1.0, 100.0, claims=12, correction="max-t").estimate == 8


def test_planned_seeds_have_the_power_of_the_t_test():
    for delta in (0.5, 0.8, 1.0):
        n = int(seeds_needed(1.0, delta).estimate)
        power = nct.sf(t.ppf(0.975, n - 1), n - 1, delta * n**0.5)
        assert 0.79 < power < 0.86


def test_effect_and_seeds_are_inverse():
    for claims in (1, 5):
        n = 25
        effect = minimum_detectable_effect(n, 1.7, claims=claims).estimate
        assert seeds_needed(1.7, effect, claims=claims).estimate == n
        assert seeds_needed(1.7, effect * 0.99, claims=claims).estimate > n


def test_too_few_seeds_detect_nothing():
    result = minimum_detectable_effect(5, 1.0)
    assert "cannot reach" in result.refusal
    assert np.isnan(result.estimate)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"sd": 0.0, "delta": 1.0}, "sd must be"),
        ({"sd": 1.0, "delta": -1.0}, "delta must be"),
        ({"sd": 1.0, "delta": 1.0, "power": 1.0}, "power must lie"),
        ({"sd": 1.0, "delta": 1.0, "claims": 0}, "claims must be"),
    ],
)
def test_bad_plans_are_refused(arguments, said):
    with pytest.raises(StatisticsError, match=said):
        seeds_needed(**arguments)
