import numpy as np
import pytest

from normbench.errors import StatisticsError
from normbench.stats import cannot_reach, complete_blocks, minimum_seeds, sign_flip_p

NAN = np.nan


def test_floor_is_the_smallest_p_that_exists():
    for n in range(1, 12):
        assert (sign_flip_p(np.ones(n)) <= 0.05) == (cannot_reach(n, 0.05) is None)


def test_holm_divides_the_level_and_max_t_does_not():
    assert cannot_reach(8, 0.05, 12, "holm") is not None
    assert cannot_reach(9, 0.05, 12, "holm") is None
    assert cannot_reach(6, 0.05, 12, "max-t") is None
    assert cannot_reach(5, 0.05, 12, "max-t") is not None
    assert "cannot reach α = 0.00417 at this n" in cannot_reach(8, 0.05, 12)
    assert cannot_reach(0, 0.05) is not None


def test_minimum_seeds_is_where_the_floor_is_met():
    for claims in (1, 3, 12):
        n = minimum_seeds(0.05, claims)
        assert cannot_reach(n, 0.05, claims) is None
        assert cannot_reach(n - 1, 0.05, claims) is not None
    with pytest.raises(StatisticsError, match="sided"):
        minimum_seeds(sided=3)


def test_complete_data_pass():
    blocks = complete_blocks(np.zeros((10, 3)), ["a", "b", "c"])
    assert blocks.seeds.all()
    assert blocks.kept.all()
    assert blocks.notes == ()
    assert blocks.refusal is None
    assert not blocks.exploratory


def test_an_incomplete_seed_leaves_for_the_whole_family():
    table = np.zeros((10, 3))
    table[4, 1] = NAN
    blocks = complete_blocks(table, ["a", "b", "c"], seeds=range(100, 110))
    np.testing.assert_array_equal(np.flatnonzero(~blocks.seeds), [4])
    assert blocks.refusal is None
    assert "104" in str(blocks.notes[0])


@pytest.mark.parametrize(("n", "lost", "refused"), [(8, 1, False), (8, 2, True), (30, 3, False)])
def test_more_than_a_tenth_of_the_seeds_refuses(n, lost, refused):
    table = np.zeros((n, 2))
    table[:lost, 0] = NAN
    assert (complete_blocks(table, ["a", "b"]).refusal is not None) == refused


def test_a_configuration_missing_in_most_seeds_is_dropped_by_name():
    table = np.zeros((10, 3))
    table[:7, 2] = NAN
    blocks = complete_blocks(table, ["a", "b", "c"])
    np.testing.assert_array_equal(blocks.kept, [True, True, False])
    assert blocks.seeds.all()
    assert blocks.exploratory
    assert str(blocks.notes[0]).startswith("c is missing in 7 of 10 seeds")
    assert complete_blocks(np.full((6, 2), NAN), ["a", "b"]).refusal is not None


def test_bad_tables_are_refused():
    with pytest.raises(StatisticsError, match="missing run is NaN"):
        complete_blocks([[np.inf, 1.0]], ["a", "b"])
    with pytest.raises(StatisticsError, match="one name per configuration"):
        complete_blocks([[1.0, 1.0]], ["a"])
    with pytest.raises(StatisticsError, match="one name per seed"):
        complete_blocks([[1.0]], ["a"], seeds=[1, 2])
