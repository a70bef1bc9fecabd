"""Recurrent nets: torch's own cells with the norm off, direct formulas with it on."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normbench.errors import UndefinedError, UsageError
from normbench.models.cells import GATES
from normbench.models.describe import network
from normbench.models.layers import site_names
from normbench.models.plain import Net, build, initialise
from normbench.models.recurrent_layer import RecurrentLayer
from normbench.norms.time_batch import TimeBatchNorm
from normbench.training.optimizers import decay_mask
from tests.builders import cell

KINDS = ("lstm", "gru", "rnn")
SHAPE = (3, 5)
H, N = 6, 7
DEFAULTS: dict[str, Any] = {"dataset": {"name": "digits-rows", "items": 100}, "norm": "none"}


def built(kind: str, device: str = "cpu", shape: tuple[int, ...] = SHAPE, **axes: Any) -> Net:
    model = {"name": kind, "hidden": H}
    one = cell(**(DEFAULTS | {"model": model, "batch_size": N} | axes))
    net = build(network(one, shape, 4), device)
    if device != "meta":
        initialise(net, 0, "torch")
        net.double()
    return net


def layer_of(net: Net) -> RecurrentLayer:
    found = net.parts["recurrent"]
    assert isinstance(found, RecurrentLayer)
    return found


def inputs(steps: int = 5, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((N, 3, steps), generator=generator, dtype=torch.float64)


def torchs(layer: RecurrentLayer) -> nn.Module:
    """Torch's own layer with the same weights; its second bias holds the GRU's inner one."""
    kinds: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
    theirs: nn.Module = kinds[layer.kind](3, H, batch_first=True).double()
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(layer.weight_input)  # type: ignore[operator]
        theirs.weight_hh_l0.copy_(layer.weight_hidden)  # type: ignore[operator]
        theirs.bias_ih_l0.copy_(layer.bias)  # type: ignore[operator]
        theirs.bias_hh_l0.zero_()  # type: ignore[operator]
        if layer.candidate_bias is not None:
            theirs.bias_hh_l0[2 * H :].copy_(layer.candidate_bias)  # type: ignore[index]
    return theirs


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_norm_it_is_torchs_own_layer(kind: str) -> None:
    layer = layer_of(built(kind))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.linspace(-0.3, 0.3, parameter.numel()).view(parameter.shape))
    theirs = torchs(layer)
    a, b = inputs().requires_grad_(), inputs().requires_grad_()
    mine = layer(a)
    wanted = theirs(b.transpose(1, 2))[0][:, -1]
    torch.testing.assert_close(mine, wanted, rtol=0, atol=1e-13)
    weights = torch.linspace(-1, 1, mine.numel(), dtype=torch.float64).view(mine.shape)
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0"]
    own = [layer.weight_input, layer.weight_hidden, layer.bias]
    found = torch.autograd.grad((mine * weights).sum(), [a, *layer.parameters()])
    by_name = dict(zip(["x", *(n for n, _ in layer.named_parameters())], found, strict=True))
    (wanted * weights).sum().backward()
    torch.testing.assert_close(by_name["x"], b.grad, rtol=0, atol=1e-13)
    for name, parameter in zip(names, own, strict=True):
        mine_name = next(n for n, p in layer.named_parameters() if p is parameter)
        expected = getattr(theirs, name).grad
        torch.testing.assert_close(by_name[mine_name], expected, rtol=0, atol=1e-13)
    if kind == "gru":
        expected = theirs.bias_hh_l0.grad[2 * H :]  # type: ignore[index, union-attr]
        torch.testing.assert_close(by_name["candidate_bias"], expected, rtol=0, atol=1e-13)


# -- with norms, by the papers' formulas -------------------------------------------------------


def standardised(x: Tensor, axis: int, eps: float = 1e-5) -> Tensor:
    mean = x.mean(axis, keepdim=True)
    return (x - mean) / (((x - mean) ** 2).mean(axis, keepdim=True) + eps).sqrt()


def randomised(net: Net) -> dict[str, Tensor]:
    """The layer's parameters, norms included, moved away from where they start."""
    layer = layer_of(net)
    with torch.no_grad():
        for i, parameter in enumerate(layer.parameters()):
            parameter.add_(0.2 * torch.sin(torch.arange(parameter.numel()) + i).view_as(parameter))
    return {n: p.detach() for n, p in layer.named_parameters()}


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("sites", [["input", "hidden", "cell"], ["input"], ["cell", "hidden"]])
def test_an_lstm_follows_the_papers_formula(norm: str, sites: list[str]) -> None:
    net = built("lstm", norm=norm, sites=sites)
    p = randomised(net)
    axis = 0 if norm == "batch" else 1

    def n(x: Tensor, site: str) -> Tensor:
        if site not in sites:
            return x
        prefix = f"{site}_norm" + (".blocks.0" if norm == "layer" else "")
        y = standardised(x, axis) * p[f"{prefix}.weight"]
        return y + p[f"{prefix}.bias"] if f"{prefix}.bias" in p else y

    x = inputs()
    h = c = torch.zeros(N, H, dtype=torch.float64)
    for t in range(5):
        gates = n(h @ p["weight_hidden"].T, "hidden") + n(x[:, :, t] @ p["weight_input"].T, "input")
        i, f, g, o = (gates + p["bias"]).split(H, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(n(c, "cell"))
    torch.testing.assert_close(layer_of(net)(x), h, rtol=0, atol=1e-12)
    assert ("hidden_norm.bias" in p) is False  # the bias b is shift enough: arXiv:1603.09025


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_gru_normalizes_its_candidate_apart(norm: str) -> None:
    net = built("gru", norm=norm)
    p = randomised(net)

    def n(x: Tensor, site: str) -> Tensor:
        if norm == "batch":
            return standardised(x, 0) * p[f"{site}_norm.weight"]
        names = [f"{site}_norm.blocks.{i}" for i in (0, 1)]
        parts = zip(names, x.split([2 * H, H], 1), strict=True)
        return torch.cat(
            [standardised(b, 1) * p[f"{k}.weight"] + p[f"{k}.bias"] for k, b in parts], 1
        )

    x, h = inputs(), torch.zeros(N, H, dtype=torch.float64)
    for t in range(5):
        from_h = n(h @ p["weight_hidden"].T, "hidden")
        from_x = n(x[:, :, t] @ p["weight_input"].T, "input") + p["bias"]
        r = torch.sigmoid(from_h[:, :H] + from_x[:, :H])
        z = torch.sigmoid(from_h[:, H : 2 * H] + from_x[:, H : 2 * H])
        new = torch.tanh(from_x[:, 2 * H :] + r * (from_h[:, 2 * H :] + p["candidate_bias"]))
        h = (1 - z) * new + z * h
    torch.testing.assert_close(layer_of(net)(x), h, rtol=0, atol=1e-12)


def test_a_plain_recurrent_net_follows_its_formula() -> None:
    net = built("rnn", norm="layer")
    p = randomised(net)

    def n(x: Tensor, site: str) -> Tensor:
        k = f"{site}_norm.blocks.0"
        return standardised(x, 1) * p[f"{k}.weight"] + p[f"{k}.bias"]

    x, h = inputs(), torch.zeros(N, H, dtype=torch.float64)
    for t in range(5):
        from_x = n(x[:, :, t] @ p["weight_input"].T, "input")
        h = torch.tanh(n(h @ p["weight_hidden"].T, "hidden") + from_x + p["bias"])
    torch.testing.assert_close(layer_of(net)(x), h, rtol=0, atol=1e-12)


@pytest.mark.parametrize("norm", [{"name": "batch", "time": t} for t in ("per-step", "pooled")])
@pytest.mark.parametrize("kind", KINDS)
def test_every_running_statistic_moves_in_training(kind: str, norm: Any) -> None:
    net = built(kind, norm=norm)
    norms = [m for m in net.modules() if isinstance(m, TimeBatchNorm)]
    assert len(norms) == (3 if kind == "lstm" else 2)
    for _ in range(2):
        net(inputs())
    for module in norms:
        assert module.running_mean.shape[0] == (5 if norm["time"] == "per-step" else 1)
        for t, (mean, variance) in enumerate(
            zip(module.running_mean, module.running_var, strict=True)
        ):
            # W_h h is 0 at the first step, since h is
            blank = module is layer_of(net).hidden_norm and t == 0 and norm["time"] == "per-step"
            assert bool((mean != 0).all()) != blank
            assert (variance != 1).all()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    net.eval()(inputs(seed=2))
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("kind", KINDS)
def test_longer_sequences_than_in_training_can_be_evaluated(kind: str, norm: str) -> None:
    net = built(kind, norm=norm)
    for seed in range(3):
        net(inputs(seed=seed))
    net.eval()
    x = inputs(steps=9)
    found = net(x)
    assert found.shape == (N, 4)
    assert found.isfinite().all()
    assert not torch.allclose(found, net(x[:, :, :5]))


def test_steps_past_the_last_take_the_last_statistics() -> None:
    """By steps that come later alone: a net whose statistics are the last step's everywhere."""
    net = built("lstm", norm="batch")
    for seed in range(3):
        net(inputs(seed=seed))
    net.eval()
    twin = built("lstm", norm="batch", shape=(3, 9)).eval()
    state = net.state_dict()
    for name, value in twin.state_dict().items():
        rows = [min(t, 4) for t in range(9)] if "running" in name else slice(None)
        value.copy_(state[name][rows])
    x = inputs(steps=9)
    torch.testing.assert_close(net(x), twin(x), rtol=0, atol=1e-13)


# -- building ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "norm", "sites", "parameters", "buffers"),
    [
        # 4·6·(3+6)+24 and a classifier of 6·4+4; γ at 24, 24 and 6 features, β at the cell
        ("lstm", "none", "all", 240 + 28, 0),
        ("lstm", "batch", "all", 268 + 24 + 24 + 12, 5 * 2 * (24 + 24 + 6)),
        ("lstm", {"name": "batch", "time": "pooled"}, "all", 268 + 60, 2 * (24 + 24 + 6)),
        ("lstm", "batch", ["input"], 268 + 24, 5 * 2 * 24),
        ("lstm", "layer", "all", 268 + 2 * (24 + 24 + 6), 0),
        ("gru", "none", "all", 3 * 6 * 9 + 18 + 6 + 28, 0),
        ("gru", "layer", "all", 214 + 2 * 36, 0),
        ("rnn", "batch", "all", 6 * 9 + 6 + 28 + 12, 5 * 2 * 12),
    ],
)
def test_the_cost_in_parameters_and_buffers_by_hand(
    kind: str, norm: Any, sites: Any, parameters: int, buffers: int
) -> None:
    for device in ("cpu", "meta"):
        net = built(kind, device, norm=norm, sites=sites)
        assert sum(p.numel() for p in net.parameters()) == parameters
        assert sum(b.numel() for b in net.buffers()) == buffers


@pytest.mark.parametrize("kind", KINDS)
def test_initial_weights_follow_their_law_and_are_paired(kind: str) -> None:
    nets = [built(kind, norm=n, batch_size=b) for n, b in (("none", 7), ("layer", 2), ("batch", 4))]
    shared = dict(nets[0].named_parameters())
    for other in nets[1:]:
        found = dict(other.named_parameters())
        assert all(torch.equal(found[name], value) for name, value in shared.items())
    layer = layer_of(built(kind, model={"name": kind, "hidden": 200}))
    bound = 1 / math.sqrt(200)
    for weight in layer.weights:
        assert weight.detach().abs().max() <= bound
        assert weight.detach().std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)
    assert not torch.equal(layer.weight_input[:, :3], layer.weight_hidden[:, :3])
    forget = torch.zeros(GATES[layer.kind] * 200)
    if kind == "lstm":
        forget[200:400] = 1.0
    assert layer.bias.tolist() == forget.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_weight_decay_is_for_the_matrices_alone(kind: str) -> None:
    net = built(kind, norm="layer")
    names = [n for n, _ in net.named_parameters()]
    decayed = {n for n, on in zip(names, decay_mask(net), strict=True) if on}
    wanted = {"parts.recurrent.weight_input", "parts.recurrent.weight_hidden"}
    assert decayed == wanted | {"parts.classifier.weight"}


def test_sites_are_those_inside_the_cell() -> None:
    for kind in KINDS:
        one = network(cell(**(DEFAULTS | {"model": kind})), SHAPE, 4)
        assert site_names(one.layers) == ["input", "hidden", "cell"][: 3 if kind == "lstm" else 2]
    with pytest.raises(UsageError, match=r"no site 'cel'; did you mean 'cell'\?"):
        built("lstm", norm="batch", sites=["cel"])


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"position": "post"}, "position = 'post' has no meaning for the model lstm"),
        ({"init": "he"}, "init = 'he' has no meaning for the model lstm"),
        ({"norm": "weight"}, "at site input: the norm weight has no form for recurrent nets"),
        ({"norm": {"name": "group", "groups": 5}}, "at site input: group norm needs groups that"),
        ({"shape": (1, 8, 8)}, "the model lstm takes sequences, inputs of shape"),
    ],
)
def test_what_does_not_fit_a_recurrent_net_is_named(axes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        built("lstm", "meta", **axes)
    assert said in str(caught.value)


def test_a_convolution_refuses_sequences() -> None:
    with pytest.raises(UsageError, match="is a convolution and takes images"):
        built("small-cnn", model={"name": "small-cnn"}, shape=(8, 8), batch_size=8)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_norms_without_meaning_are_undefined(norm: str) -> None:
    size = 1 if norm == "batch" else 4
    with pytest.raises(UndefinedError, match="at site input: "):
        built("gru", "meta", norm=norm, batch_size=size)


def test_a_group_norm_stands_in_a_recurrent_net() -> None:
    net = built("lstm", norm={"name": "group", "groups": 2})
    y = net(inputs())
    assert y.isfinite().all()
    assert torch.equal(y, net.eval()(inputs()))


def test_ghost_batches_reach_the_norms() -> None:
    net = built("lstm", norm="batch", batch_size=8, norm_batch_size=4)
    assert {m.ghost for m in net.modules() if isinstance(m, TimeBatchNorm)} == {4}
    whole = built("lstm", norm="batch", batch_size=4)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((8, 3, 5), generator=generator, dtype=torch.float64)
    torch.testing.assert_close(net(x), torch.cat([whole(x[:4]), whole(x[4:])]), rtol=0, atol=1e-12)
