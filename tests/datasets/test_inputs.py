"""Constants of the input normalization, against numpy's own."""

from __future__ import annotations

import numpy as np
import pytest

from normbench.datasets.inputs import Moments, channel_moments, input_constants, unit_factors
from normbench.errors import UsageError

RNG = np.random.default_rng(0)
IMAGES = (RNG.random((20, 3, 4, 5)) * np.array([0.2, 0.5, 1.0]).reshape(1, 3, 1, 1)).astype("f4")


def moments(images: np.ndarray) -> Moments:
    return channel_moments(images, np.arange(len(images)))


def scaled(kind: str) -> np.ndarray:
    shift, scale = input_constants(moments(IMAGES), kind)
    assert shift.dtype == scale.dtype == np.float32
    assert shift.shape == scale.shape == (3,)
    return (IMAGES.astype(float) - shift.reshape(1, 3, 1, 1)) / scale.reshape(1, 3, 1, 1)


def test_raw_changes_nothing() -> None:
    assert np.array_equal(scaled("raw"), IMAGES)


def test_centred_takes_the_mean_of_each_channel() -> None:
    found = scaled("centred")
    assert found.mean(axis=(0, 2, 3)) == pytest.approx([0, 0, 0], abs=1e-7)
    assert found.std(axis=(0, 2, 3)) == pytest.approx(IMAGES.std(axis=(0, 2, 3)), rel=1e-6)


def test_per_channel_standardises_each_channel() -> None:
    found = scaled("per-channel")
    assert found.mean(axis=(0, 2, 3)) == pytest.approx([0, 0, 0], abs=1e-6)
    assert found.std(axis=(0, 2, 3)) == pytest.approx([1, 1, 1], rel=1e-6)


def test_global_standardises_all_channels_together() -> None:
    found = scaled("global")
    assert found.mean() == pytest.approx(0, abs=1e-6)
    assert found.std() == pytest.approx(1, rel=1e-6)
    assert np.ptp(found.mean(axis=(0, 2, 3))) > 0.5


@pytest.mark.parametrize("kind", ["per-channel", "global", "centred", "raw"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 0.7, 1.0])
def test_a_constant_channel_keeps_the_scale_one(kind: str, value: float) -> None:
    flat = np.full((77, 1, 3, 3), value, dtype=np.float32)
    _, scale = input_constants(moments(flat), kind)
    assert scale.tolist() == [1.0]


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown input normalization 'zca'"):
        input_constants(moments(IMAGES), "zca")


def test_moments_of_bytes_are_those_of_the_values() -> None:
    stored = np.random.default_rng(1).integers(0, 256, (600, 3, 5, 4), dtype=np.uint8)
    items = np.arange(7, 590)
    found = channel_moments(stored, items)
    values = stored[7:590].astype(float) / 255
    assert found.mean == pytest.approx(values.mean(axis=(0, 2, 3)), rel=1e-12)
    assert found.variance == pytest.approx(values.var(axis=(0, 2, 3)), rel=1e-12)


@pytest.mark.parametrize("value", [0, 1, 77, 255])
def test_a_constant_channel_of_bytes_has_no_variance(value: int) -> None:
    flat = np.full((9, 1, 3, 3), value, dtype=np.uint8)
    assert channel_moments(flat, np.arange(9)).variance.tolist() == [0.0]


def test_constants_follow_the_units() -> None:
    factors = unit_factors("uneven", 3)
    in_units = IMAGES * factors.reshape(1, 3, 1, 1)
    for kind in ("centred", "per-channel", "global"):
        shift, scale = input_constants(moments(IMAGES), kind, factors)
        expected_shift, expected_scale = input_constants(moments(in_units), kind)
        assert shift == pytest.approx(expected_shift, rel=1e-5)
        assert scale == pytest.approx(expected_scale, rel=1e-5)


def test_imagenet_constants_are_torchvisions_and_follow_the_units() -> None:
    from torchvision.models import AlexNet_Weights

    transform = AlexNet_Weights.DEFAULT.transforms()
    photos = np.random.default_rng(0).random((4, 3, 5, 5)).astype(np.float32)
    shift, scale = input_constants(moments(photos), "imagenet")
    np.testing.assert_allclose(shift, transform.mean, rtol=1e-6)
    np.testing.assert_allclose(scale, transform.std, rtol=1e-6)
    factors = unit_factors("byte", 3)
    wide_shift, wide_scale = input_constants(moments(photos), "imagenet", factors)
    np.testing.assert_allclose(
        (photos * 255 - wide_shift.reshape(1, 3, 1, 1)) / wide_scale.reshape(1, 3, 1, 1),
        (photos - shift.reshape(1, 3, 1, 1)) / scale.reshape(1, 3, 1, 1),
        atol=1e-4,
    )


def test_imagenet_constants_need_three_channels() -> None:
    with pytest.raises(UsageError, match="three colour channels; the data have 1"):
        input_constants(moments(np.zeros((2, 1, 4, 4), dtype=np.float32)), "imagenet")


def test_units() -> None:
    assert unit_factors("unit", 3).tolist() == [1, 1, 1]
    assert unit_factors("byte", 3).tolist() == [255, 255, 255]
    assert unit_factors("uneven", 5).tolist() == [1, 10, 100, 1, 10]
    with pytest.raises(UsageError, match="unknown input units 'grams'"):
        unit_factors("grams", 3)
