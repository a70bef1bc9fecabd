"""The transformer: torch's own blocks, what sees what, and where norms stand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normbench.errors import UndefinedError, UsageError
from normbench.models.describe import network
from normbench.models.layers import site_names
from normbench.models.plain import Net, build, initialise, sites_of
from normbench.models.tokens import TokenNorm
from tests.builders import cell

MODEL = {"name": "transformer", "width": 16, "depth": 1, "heads": 2}
TEXT, IMAGE, SERIES = (9,), (3, 8, 12), (5, 7)


def made(shape: tuple[int, ...] = TEXT, norm: Any = "layer", batch: int = 4, **model: Any) -> Net:
    net = build(network(cell(model=MODEL | model, norm=norm, batch_size=batch), shape, 11))
    initialise(net, 3, "torch")
    return net.double()


def inputs(shape: tuple[int, ...], count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if len(shape) == 1:
        return torch.randint(0, 11, (count, *shape), generator=generator).double()
    return torch.randn((count, *shape), generator=generator).double()


def torchs_own(net: Net, pre: bool) -> nn.TransformerEncoderLayer:
    """Torch's layer with the weights of the first block."""
    theirs = nn.TransformerEncoderLayer(
        16, 2, 64, dropout=0.0, activation="gelu", batch_first=True, norm_first=pre,
    ).double()  # fmt: skip
    parts = net.parts
    norms = [parts[f"block1_{site}_norm"].norm for site in ("attention", "mlp")]
    pairs = [
        (theirs.self_attn.in_proj_weight, parts["block1_attend"].qkv.weight),
        (theirs.self_attn.in_proj_bias, parts["block1_attend"].qkv.bias),
        (theirs.self_attn.out_proj.weight, parts["block1_attend"].out.weight),
        (theirs.self_attn.out_proj.bias, parts["block1_attend"].out.bias),
        (theirs.linear1.weight, parts["block1_hidden"].weight),
        (theirs.linear1.bias, parts["block1_hidden"].bias),
        (theirs.linear2.weight, parts["block1_down"].weight),
        (theirs.linear2.bias, parts["block1_down"].bias),
        (theirs.norm1.weight, norms[0].weight), (theirs.norm1.bias, norms[0].bias),
        (theirs.norm2.weight, norms[1].weight), (theirs.norm2.bias, norms[1].bias),
    ]  # fmt: skip
    with torch.no_grad():
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-1, 1)
        for target, source in pairs:
            target.copy_(source)
    return theirs.train()


@pytest.mark.parametrize("placement", ["pre", "post"])
@pytest.mark.parametrize("shape", [TEXT, IMAGE, SERIES])
def test_a_block_is_torchs_encoder_layer(placement: str, shape: tuple[int, ...]) -> None:
    net = made(shape, placement=placement)
    theirs = torchs_own(net, placement == "pre")
    x = inputs(shape)
    first, *_ = net.parts.values()
    mask = None
    if shape == TEXT:
        mask = nn.Transformer.generate_square_subsequent_mask(9, dtype=torch.float64)
    hidden = theirs(first(x), src_mask=mask, is_causal=mask is not None)
    if placement == "pre":
        hidden = net.parts["final_norm"](hidden)
    wanted = net.parts["classifier"](hidden if shape == TEXT else hidden.mean(1))
    assert torch.allclose(net(x), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("qk", [False, True])
def test_a_token_sees_none_that_comes_later(qk: bool) -> None:
    net, x = made(qk=qk, depth=2), inputs(TEXT)
    changed = x.clone()
    changed[:, 5:] = 10 - changed[:, 5:]
    outputs, others = net(x), net(changed)
    assert outputs.shape == (4, 9, 11)
    assert torch.equal(outputs[:, :5], others[:, :5])
    assert not torch.isclose(outputs[:, 5:], others[:, 5:]).all(-1).any()


def test_images_are_read_in_patches_and_every_patch_sees_the_others() -> None:
    net, x = made(IMAGE), inputs(IMAGE)
    embed = net.parts["patches"]
    filters = embed.linear.weight.view(16, 3, 2, 2)
    wanted = nn.functional.conv2d(x, filters, embed.linear.bias, stride=2).flatten(2).mT
    assert torch.allclose(embed(x), wanted + embed.position, rtol=0, atol=1e-12)
    assert net(x).shape == (4, 11)
    positions = embed.position.detach().clone()
    with torch.no_grad():  # without positions the order of the patches is nothing
        embed.position.zero_()
        turned = torch.cat([x[..., 4:], x[..., :4]], -1)
        assert torch.allclose(net(x), net(turned), rtol=0, atol=1e-12)
        embed.position.copy_(positions)
        assert not torch.allclose(net(x), net(turned), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ({"placement": "pre"}, ["block1_attention", "block1_mlp", "final"]),
        ({"placement": "post"}, ["block1_attention", "block1_mlp"]),
        (
            {"placement": "sandwich", "qk": True},
            ["block1_attention", "block1_query", "block1_key", "block1_attention_out",
             "block1_mlp", "block1_mlp_out", "final"],
        ),
    ],
)  # fmt: skip
def test_sites(model: dict[str, Any], wanted: list[str]) -> None:
    described = network(cell(model=MODEL | model, norm="layer"), TEXT, 11)
    assert site_names(described.layers) == wanted
    net = build(described)
    assert len([norm for norm in sites_of(net) if isinstance(norm, TokenNorm)]) == len(wanted)
    few = build(network(cell(model=MODEL | model, norm="rms", sites=wanted[:1]), TEXT, 11))
    assert len([norm for norm in sites_of(few) if isinstance(norm, TokenNorm)]) == 1


def test_a_sandwich_has_a_norm_on_either_side_of_a_branch() -> None:
    net, x = made(placement="sandwich", depth=1), inputs(TEXT)
    parts = net.parts
    h = parts["embedding"](x)
    h = h + parts["block1_attention_out_norm"](
        parts["block1_attend"](parts["block1_attention_norm"](h))
    )
    hidden = nn.functional.gelu(parts["block1_hidden"](parts["block1_mlp_norm"](h)))
    h = h + parts["block1_mlp_out_norm"](parts["block1_down"](hidden))
    wanted = parts["classifier"](parts["final_norm"](h))
    assert torch.allclose(net(x), wanted, rtol=0, atol=1e-12)


def test_without_norms_all_placements_are_one_network() -> None:
    x = inputs(TEXT)
    one, *others = (
        made(norm="none", placement=place, qk=qk)(x)
        for place, qk in (("pre", False), ("post", False), ("sandwich", True))
    )
    assert all(torch.equal(one, other) for other in others)


# -- norms of tokens ---------------------------------------------------------------------------


def reference(norm: str, x: Tensor) -> Tensor:
    """What a norm makes of tokens (…, features), its scale 1 and its shift 0."""
    f, size = nn.functional, x.shape[-1:]
    match norm:
        case "layer":
            return f.layer_norm(x, size)
        case "rms":
            return f.rms_norm(x, size, eps=1e-5)
        case "dyt":
            return torch.tanh(0.5 * x)
        case "derf":
            return torch.erf(0.5 * x)
        case _:
            rows = x.flatten(0, -2)
            return f.batch_norm(rows, None, None, training=True).view(x.shape)


@pytest.mark.parametrize("norm", ["layer", "rms", "dyt", "derf", "batch"])
def test_norms_are_of_tokens_and_batch_norm_of_features(norm: str) -> None:
    net = made(norm=norm, qk=True)
    x = inputs((9, 16))
    assert torch.allclose(
        net.parts["block1_attention_norm"](x), reference(norm, x), rtol=0, atol=1e-10
    )
    heads = inputs((2, 9, 8))
    found = net.parts["block1_attend"].query_norm(heads)
    assert torch.allclose(found, reference(norm, heads), rtol=0, atol=1e-10)
    scales = {n: p.shape for n, p in net.named_parameters() if "query_norm" in n}
    assert all(shape in ((8,), (1,)) for shape in scales.values()), "heads share their norm"


def test_batch_norm_of_tokens_is_evaluated_by_batches_of_sequences() -> None:
    norm = made(norm="batch").parts["block1_attention_norm"]
    x = inputs((9, 16), 8)
    norm.eval()
    norm.norm.mode, norm.norm.evaluation_batch = "batch", 4
    wanted = torch.cat([reference("batch", part) for part in x.split(4)])
    assert torch.allclose(norm(x), wanted, rtol=0, atol=1e-10)


def test_what_has_no_meaning_is_undefined_or_refused() -> None:
    for norm in ("instance", {"name": "group", "groups": 3}):
        with pytest.raises((UndefinedError, UsageError), match="at site block1_attention"):
            made(norm=norm)
    for norm in ("weight", "weight-standardized"):
        with pytest.raises(UsageError, match=f"the norm {norm} changes the weights"):
            made(norm=norm)
    with pytest.raises(UsageError, match=r"heads must divide .* heads = 3 and width = 16; use a"):
        made(heads=3)
    with pytest.raises(UsageError, match="8×12 pixels here; received patch = 3"):
        made(IMAGE, patch=3)
    for axes in ({"position": "post"}, {"init": "he"}):
        with pytest.raises(UsageError, match="has no meaning for the model transformer"):
            network(cell(model=MODEL, norm="layer", **axes), TEXT, 11)


def test_initial_weights_are_drawn_layer_by_layer() -> None:
    """Those that two networks share are equal, whatever their norms and placements."""
    one, other = made(norm="layer", qk=True), made(norm="none", placement="post", depth=2)
    shared = one.state_dict().keys() & other.state_dict().keys()
    assert len(shared) == 12
    assert all(torch.equal(one.state_dict()[k], other.state_dict()[k]) for k in shared)
    deviation = float(one.parts["embedding"].weight.detach().std())
    assert deviation == pytest.approx(0.02, rel=0.2)
    values = [v.flatten() for k, v in one.state_dict().items() if "norm" not in k]
    assert len({float(v[0]) for v in values}) == len(values), "no two layers have one stream"
