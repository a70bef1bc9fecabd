"""Convolutions with fewer multiplications: their matrices, their transposes, their rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from normbench.models.layers import Conv
from normbench.models.packed import set_up
from normbench.models.packed.block import Block, Workspace
from normbench.models.packed.convolution import TILED, Convolutions
from normbench.models.packed.evaluator import Conditions
from normbench.models.packed.graph import Node
from normbench.models.packed.tiles import Tiles
from normbench.models.packed.winograd import matrices
from normbench.models.packed.winograd_convolution import (
    WinogradConvolutions,
    images_at_once,
    suits,
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("taps", range(1, 6))
@pytest.mark.parametrize("outputs", range(1, 5))
def test_the_matrices_are_those_of_a_correlation(outputs: int, taps: int) -> None:
    made = matrices(outputs, taps)
    x, w = draw(outputs + taps - 1), draw(taps, seed=1)
    found = made.outputs @ ((made.filters @ w) * (made.inputs @ x))
    wanted = functional.conv1d(x.view(1, 1, -1), w.view(1, 1, -1)).flatten()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_the_matrices_of_lavin_and_gray() -> None:
    """F(2, 3) in arXiv:1509.09308, up to the factors that a point may have in each matrix."""
    made = matrices(2, 3)
    theirs = torch.tensor(
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], dtype=torch.float64
    )
    ratios = (made.inputs * theirs).sum(1) / theirs.square().sum(1)
    torch.testing.assert_close(made.inputs, theirs * ratios[:, None])


@pytest.mark.parametrize(("outputs", "taps"), [(0, 3), (2, 0), (7, 3), (5, 5)])
def test_too_many_points_are_refused(outputs: int, taps: int) -> None:
    with pytest.raises(ValueError, match="tiles take 1 to 8 points, outputs"):
        matrices(outputs, taps)


@settings(max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 11), st.integers(1, 11)),
    outputs=st.sampled_from([2, 3, 4]),
    taps=st.sampled_from([3, 5]),
)
def test_what_ends_in_back_is_the_transpose(
    shape: tuple[int, int], outputs: int, taps: int
) -> None:
    tiles = Tiles(shape, outputs, taps, draw(1))
    images = draw(shape[0], shape[1] * 6)
    half = draw(tiles.rows, shape[1], 6)
    whole = draw(tiles.rows, tiles.columns, 6, seed=2)
    transformed, back = torch.empty_like(whole), torch.empty_like(images)
    tiles.transform(images, half, transformed)
    tiles.transform_back(whole, half, back)
    torch.testing.assert_close((transformed * whole).sum(), (images * back).sum())
    tiles.untransform(whole, half, back)
    tiles.untransform_back(images, half, transformed)
    torch.testing.assert_close((transformed * whole).sum(), (images * back).sum())


def convolutions(way: str, layer: Conv, channels: int, size: int, batch: int, dtype: Any) -> Any:
    """A convolution of one member, with drawn weights."""
    fan_in = layer.kernel**2 * channels
    values = {
        "c.weight": draw(1, layer.channels, layer.kernel, layer.kernel, channels).div(fan_in**0.5),
        "c.bias": draw(1, layer.channels, seed=3),
    }
    values = {name: value.to(dtype) for name, value in values.items()}
    gradients = {name: torch.zeros_like(value) for name, value in values.items()}
    block = Block(0, 1, batch, values, gradients, {}, Workspace(dtype, "cpu"))
    node = Node(layer, "c", (size, size, channels), (size, size, layer.channels))
    if way == TILED:
        return WinogradConvolutions(node, layer, block, passes_back=True)
    return Convolutions(node, layer, (way,) * 3, block, passes_back=True)  # type: ignore[arg-type]


def results(made: Any, x: Tensor, gradient: Tensor) -> dict[str, Tensor]:
    """The output, in training and in evaluation, and all gradients, in float64."""
    y = made.forward(x).clone()
    back = made.backward(gradient.clone())
    evaluated = made.evaluate(x, Conditions({}, Workspace(x.dtype, "cpu")))
    found = {"y": y, "evaluated": evaluated, "back": back, "weight": made.weight_gradient,
             "bias": made.bias_gradient}  # fmt: skip
    return {name: value.double() for name, value in found.items()}


@pytest.mark.parametrize(("kernel", "most"), [(3, 2e-6), (5, 6e-6)])
def test_single_precision_is_kept(kernel: int, most: float) -> None:
    """The error of an output or a gradient, by its root mean square, against double precision.

    torch's own convolution has errors of 1e-7 to 5e-7 here.
    """
    set_up()
    layer = Conv("c", 32, kernel=kernel, padding=kernel // 2)
    x, gradient = draw(1, 32, 7, 7, 48).relu(), draw(1, 32, 7, 7, 32, seed=5)
    exact = results(convolutions("im", layer, 48, 7, 32, torch.float64), x, gradient)
    rounded = convolutions(TILED, layer, 48, 7, 32, torch.float32)
    for name, value in results(rounded, x.float(), gradient.float()).items():
        error = (value - exact[name]).square().mean().sqrt() / exact[name].square().mean().sqrt()
        assert 0 < error < most, name


def test_which_convolutions_have_this_form() -> None:
    assert suits(Conv("c", 4, kernel=3, padding=1))
    assert suits(Conv("c", 4, kernel=5, padding=2))
    for odd in (Conv("c", 4, kernel=3), Conv("c", 4, kernel=3, padding=1, stride=2),
                Conv("c", 4, kernel=1), Conv("c", 4, kernel=7, padding=3)):  # fmt: skip
        assert not suits(odd)


@pytest.mark.parametrize(
    ("batch", "images"), [(1, 1), (2, 2), (32, 32), (48, 24), (128, 32), (37, 37), (74, 74)]
)
def test_pieces_are_alike_and_not_tiny(batch: int, images: int) -> None:
    assert images_at_once(batch) == images
