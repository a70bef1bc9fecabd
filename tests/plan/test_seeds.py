"""Streams: the key alone decides a draw, and different keys give unrelated draws."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normbench.plan.seeds import Purpose, stream_key

KEYS = st.tuples(
    st.integers(0, 2**62), st.sampled_from(get_args(Purpose)), st.text(max_size=20)
)  # fmt: skip


@given(one=KEYS, other=KEYS)
def test_keys_are_equal_only_for_equal_streams(one: Any, other: Any) -> None:
    assert (stream_key(*one) == stream_key(*other)) == (one == other)


@given(key=KEYS)
def test_a_key_is_a_valid_generator_seed(key: Any) -> None:
    found = stream_key(*key)
    assert found == stream_key(*key)
    assert 0 <= found < 2**63


def test_neighbouring_streams_do_not_collide() -> None:
    names = ["", *(f"epoch {i}" for i in range(30)), "fc1", "fc2", "conv1"]
    keys = {
        stream_key(seed, purpose, name)
        for seed in range(50)
        for purpose in get_args(Purpose)
        for name in names
    }
    assert len(keys) == 50 * len(get_args(Purpose)) * len(names)


def test_draws_of_neighbouring_seeds_are_uncorrelated() -> None:
    draws = np.array(
        [np.random.default_rng(stream_key(s, "init", "fc1")).normal(size=200) for s in range(40)]
    )
    correlations = np.corrcoef(draws)[np.triu_indices(40, 1)]
    # 780 correlations of 200 normal draws have deviation 0.07 each
    assert abs(correlations.mean()) < 0.02
    assert np.abs(correlations).max() < 0.35


def test_nothing_but_seed_purpose_and_name_enters() -> None:
    assert list(inspect.signature(stream_key).parameters) == ["seed", "purpose", "name"]


def test_whole_numbers_of_any_type_give_the_same_stream() -> None:
    assert stream_key(int(np.int64(7)), "init", "a") == stream_key(np.int64(7), "init", "a")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ((0, "init", "fc1"), 7051967621100458387),
        ((3, "order", "epoch 2"), 3265071989696774062),
    ],
)
def test_keys_are_half_the_first_eight_bytes_of_sha256(key: Any, value: int) -> None:
    # by sha256sum of "normbench/1|SEED|PURPOSE|NAME": a change would unpair all stored results
    assert stream_key(*key) == value
