"""The failure score of a run that learns nothing from its inputs."""

import math

import pytest

from normbench.errors import StatisticsError
from normbench.stats.outcome import blind_score


def test_classes_are_guessed_and_a_regression_gives_the_mean():
    assert blind_score(False, 10) == pytest.approx(0.9)
    assert blind_score(True, 10) == pytest.approx(math.log(10))
    assert blind_score(False, 1) == 1.0
    assert blind_score(True, 1, 0.17) == 0.17


@pytest.mark.parametrize("call", [(True, 1), (True, 1, 0.0), (True, 1, math.nan), (False, 0)])
def test_what_is_missing_is_refused(call):
    with pytest.raises(StatisticsError):
        blind_score(*call)
