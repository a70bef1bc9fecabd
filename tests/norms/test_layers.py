"""The norms' numbers by hand, their parameters, and where they have no meaning."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normbench.catalog import NORMS
from normbench.conformance.subject import default_params, of_catalogue
from normbench.errors import UndefinedError, UsageError
from normbench.norms.factory import build_norm

IMAGE = (4, 3, 2)


def norm_of(name: str, shape: tuple[int, ...], batch_size: int = 8, **params: Any) -> nn.Module:
    return build_norm(name, {**default_params(name), **params}, shape, batch_size)


def standardised(x: Tensor) -> Tensor:
    """(x − μ)/σ of one vector, spelled out."""
    mean = sum(x.tolist()) / len(x)
    variance = sum((v - mean) ** 2 for v in x.tolist()) / len(x)
    return (x - mean) / (variance + 1e-5) ** 0.5


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, *IMAGE, generator=torch.Generator().manual_seed(0)).double() * 3 + 2


def test_layer_norm_takes_all_values_of_a_sample(x: Tensor) -> None:
    y = norm_of("layer", IMAGE).double()(x)
    for i in range(5):
        assert torch.allclose(y[i].flatten(), standardised(x[i].flatten()), atol=1e-12)


def test_group_norm_takes_neighbouring_channels(x: Tensor) -> None:
    y = norm_of("group", IMAGE, groups=2).double()(x)
    for i in range(5):
        for channels in (slice(0, 2), slice(2, 4)):
            wanted = standardised(x[i, channels].flatten())
            assert torch.allclose(y[i, channels].flatten(), wanted, atol=1e-12)


def test_instance_norm_takes_each_channel(x: Tensor) -> None:
    y = norm_of("instance", IMAGE).double()(x)
    for i in range(5):
        for c in range(4):
            assert torch.allclose(y[i, c].flatten(), standardised(x[i, c].flatten()), atol=1e-12)


def test_batch_norm_takes_each_channel_of_the_batch(x: Tensor) -> None:
    y = norm_of("batch", IMAGE).double()(x)
    for c in range(4):
        assert torch.allclose(y[:, c].flatten(), standardised(x[:, c].flatten()), atol=1e-12)


def test_no_norm_changes_nothing(x: Tensor) -> None:
    assert torch.equal(norm_of("none", IMAGE)(x), x)


def test_known_identities(x: Tensor) -> None:
    group = {g: norm_of("group", IMAGE, groups=g).double()(x) for g in (1, 4)}
    assert torch.allclose(group[1], norm_of("layer", IMAGE).double()(x), atol=1e-12)
    assert torch.allclose(group[4], norm_of("instance", IMAGE).double()(x), atol=1e-12)
    alone = norm_of("batch", IMAGE, batch_size=1).double()(x[:1])
    assert torch.allclose(alone, norm_of("instance", IMAGE).double()(x[:1]), atol=1e-12)


@pytest.mark.parametrize(
    ("name", "shape", "parameters", "buffers"),
    [
        ("none", IMAGE, 0, 0), ("none", (16,), 0, 0),
        ("batch", IMAGE, 8, 8), ("batch", (16,), 32, 32),
        ("layer", IMAGE, 48, 0), ("layer", (16,), 32, 0),
        ("group", (8, 3, 2), 16, 0), ("group", (16,), 32, 0),
        ("instance", IMAGE, 8, 0),
        ("batch-renorm", IMAGE, 8, 8), ("batch-frozen", IMAGE, 8, 8),
        ("layer-channels", IMAGE, 8, 0), ("layer-channels", (16,), 32, 0),
    ],
)  # fmt: skip
def test_how_many_parameters_a_norm_has(
    name: str, shape: tuple[int, ...], parameters: int, buffers: int
) -> None:
    norm = norm_of(name, shape)
    assert sum(p.numel() for p in norm.parameters()) == parameters
    assert sum(b.numel() for b in norm.buffers()) == buffers
    if parameters:
        values = torch.cat([p.detach().flatten() for p in norm.parameters()])
        assert sorted(values.tolist()) == [0.0] * (parameters // 2) + [1.0] * (parameters // 2)
        assert sum(p.numel() for p in norm_of(name, shape, affine=False).parameters()) == 0


def test_those_without_a_shift_and_with_other_parameters() -> None:
    assert [p.tolist() for p in norm_of("rms", (3,)).parameters()] == [[1.0] * 3]
    assert not list(norm_of("rms", (3,), affine=False).parameters())
    assert not list(norm_of("lrn", IMAGE).parameters())
    squash = dict(norm_of("dyt", IMAGE).named_parameters())
    assert {n: p.tolist() for n, p in squash.items()} == {
        "alpha": [0.5], "weight": [1.0] * 4, "bias": [0.0] * 4
    }  # fmt: skip
    assert [n for n, _ in norm_of("dyt", IMAGE, affine=False).named_parameters()] == ["alpha"]
    assert {n: p.tolist() for n, p in norm_of("derf", IMAGE).named_parameters()} == {
        "alpha": [0.5], "shift": [0.0], "weight": [1.0] * 4, "bias": [0.0] * 4
    }  # fmt: skip


def test_layer_norm_over_channels_takes_each_pixel(x: Tensor) -> None:
    y = norm_of("layer-channels", IMAGE).double()(x)
    for i, j, k in ((0, 0, 0), (4, 2, 1), (2, 1, 0)):
        assert torch.allclose(y[i, :, j, k], standardised(x[i, :, j, k]), atol=1e-12)
    vector = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    same = norm_of("layer", (6,))(vector)
    assert torch.allclose(norm_of("layer-channels", (6,))(vector), same, atol=1e-6)


def test_its_scale_and_shift_are_per_channel(x: Tensor) -> None:
    norm = norm_of("layer-channels", IMAGE).double()
    plain = norm(x)
    with torch.no_grad():
        norm.weight.copy_(torch.arange(4.0))  # type: ignore[operator]
        norm.bias.copy_(torch.tensor([0.0, 1.0, 0.0, -1.0]))  # type: ignore[operator]
    found = norm(x)
    for c, shift in enumerate((0.0, 1.0, 0.0, -1.0)):
        assert torch.allclose(found[:, c], c * plain[:, c] + shift, atol=1e-12)


def test_rms_norm_keeps_the_direction_and_sets_the_length(x: Tensor) -> None:
    y = norm_of("rms", IMAGE, eps=1e-12).double()(x)
    for a, b in zip(x, y, strict=True):
        assert b.square().mean().item() == pytest.approx(1.0, rel=1e-9)
        assert torch.allclose(a / b, (a / b).flatten()[0].expand(a.shape), rtol=1e-9)


def test_local_response_norm_by_hand() -> None:
    # one position, three channels: sums of squares of the neighbours within n = 3
    x = torch.tensor([[1.0, 2.0, 3.0]])
    y = norm_of("lrn", (3,), n=3, alpha=0.5, beta=2.0, k=1.0)(x)
    assert y.tolist() == [
        [pytest.approx(1 / 3.5**2), pytest.approx(2 / 8**2), pytest.approx(3 / 7.5**2)]
    ]


def test_the_papers_local_response_norm_is_torchs_with_five_times_alpha(x: Tensor) -> None:
    theirs = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)(x)
    assert torch.allclose(norm_of("lrn", IMAGE)(x), theirs, rtol=0, atol=1e-14)


def test_a_window_without_a_middle_is_refused() -> None:
    with pytest.raises(UsageError, match=r"odd n.*received 4; use 3 or 5"):
        norm_of("lrn", IMAGE, n=4)


def test_dynamic_erf_by_hand() -> None:
    norm = norm_of("derf", (2,), alpha=2.0, shift=0.25)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([3.0, 1.0]))  # type: ignore[operator]
        norm.bias.copy_(torch.tensor([0.0, -1.0]))  # type: ignore[operator]
    y = norm(torch.tensor([[0.25, 0.0]]))
    wanted = [3 * math.erf(0.75), math.erf(0.25) - 1]
    assert y.tolist() == [[pytest.approx(value) for value in wanted]]


def test_dynamic_tanh_by_hand() -> None:
    norm = norm_of("dyt", (2,), alpha=2.0)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([3.0, 1.0]))  # type: ignore[operator]
        norm.bias.copy_(torch.tensor([0.0, -1.0]))  # type: ignore[operator]
    y = norm(torch.tensor([[0.25, 0.0]]))
    assert y.tolist() == [[pytest.approx(3 * math.tanh(0.5)), -1.0]]


@pytest.mark.parametrize(
    ("name", "kind"), [("rms", "RmsNorm2d"), ("layer-channels", "LayerNorm2d")]
)
def test_timms_layers_over_channels(name: str, kind: str) -> None:
    timm = pytest.importorskip("timm.layers")
    x = torch.randn(3, 4, 5, 2, generator=torch.Generator().manual_seed(3))
    if name == "rms":  # timm's is over channels: at one pixel both cover the same values
        x = x[..., :1, :1]
    shape = tuple(x.shape[1:])
    theirs = getattr(timm, kind)(4, eps=1e-5)(x)
    assert torch.allclose(norm_of(name, shape)(x), theirs, atol=1e-5)


def test_eps_enters_below_the_root() -> None:
    x = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    for name in ("layer", "group"):
        extra = {"groups": 1} if name == "group" else {}
        y = norm_of(name, (2,), eps=0.75, **extra).double()(x)
        assert y.tolist() == [[pytest.approx(1.75**-0.5), pytest.approx(-(1.75**-0.5))]]


@pytest.mark.parametrize(
    ("name", "shape", "batch_size", "params"),
    [
        ("batch", (16,), 1, {}),
        ("batch", (16, 1, 1), 1, {}),
        ("instance", (16,), 8, {}),
        ("instance", (16, 1, 1), 8, {}),
        ("group", (16,), 8, {"groups": 16}),
        ("group", (16, 1, 1), 8, {"groups": 16}),
        ("group", (1,), 8, {"groups": 1}),
        ("layer", (1,), 8, {}),
        ("layer", (1, 1, 1), 8, {}),
        ("rms", (1,), 8, {}),
        ("layer-channels", (1, 5, 4), 8, {}),
        ("batch-renorm", (16,), 1, {}),
        ("batch-frozen", (16,), 1, {}),
    ],
)
def test_where_nothing_would_be_left_a_norm_is_undefined(
    name: str, shape: tuple[int, ...], batch_size: int, params: dict[str, Any]
) -> None:
    with pytest.raises(UndefinedError, match="at least two"):
        norm_of(name, shape, batch_size, **params)


@pytest.mark.parametrize(
    ("name", "shape", "batch_size", "params"),
    [
        ("batch", (16,), 2, {}),
        ("batch", (16, 2, 1), 1, {}),
        ("instance", (16, 2, 1), 1, {}),
        ("group", (16,), 1, {"groups": 8}),
        ("group", (16, 2, 1), 1, {"groups": 16}),
        ("layer", (2,), 1, {}),
        ("rms", (2,), 1, {}),
        ("layer-channels", (2, 1, 1), 1, {}),
        ("batch-renorm", (16,), 2, {}),
        ("batch-frozen", (16, 2, 1), 1, {}),
        ("batch-frozen", (16,), 1, {"after": 0.0}),
    ],
)
def test_just_beyond_that_it_is_defined_and_not_constant(
    name: str, shape: tuple[int, ...], batch_size: int, params: dict[str, Any]
) -> None:
    norm = norm_of(name, shape, batch_size, **params)
    x = torch.randn(batch_size, *shape, generator=torch.Generator().manual_seed(1))
    y = norm.train()(x)
    assert y.isfinite().all()
    assert y.std() > 0.5


@pytest.mark.parametrize(("channels", "groups"), [(16, 3), (16, 32), (10, 8)])
def test_groups_that_do_not_divide_the_channels(channels: int, groups: int) -> None:
    with pytest.raises(UsageError) as caught:
        norm_of("group", (channels, 2, 2), groups=groups)
    assert f"{groups} groups do not divide {channels} channels" in str(caught.value)
    divisors = str(caught.value).rpartition("one of ")[2]
    assert [int(d) for d in divisors.split(", ")] == [
        d for d in range(1, channels + 1) if channels % d == 0
    ]


@pytest.mark.parametrize("name", NORMS.complete)
def test_building_and_running_draws_nothing(name: str) -> None:
    before = torch.get_rng_state()
    of_catalogue(name).build((8, 2, 2)).train()(torch.ones(4, 8, 2, 2))
    assert torch.equal(before, torch.get_rng_state())


def test_an_unknown_norm() -> None:
    with pytest.raises(UsageError, match="did you mean 'batch'"):
        build_norm("btch", {}, (3,), 2)
