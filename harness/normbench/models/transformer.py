"""A small transformer, for token sequences, images in patches, and series of features."""

from __future__ import annotations

from normbench.errors import UsageError
from normbench.models.layers import (
    Attention,
    Embed,
    Gelu,
    Layer,
    Linear,
    Patches,
    Residual,
    Site,
    TokenMean,
)

#: A hidden layer has so many times the width, as in the first transformers.
_HIDDEN = 4


def layers(
    shape: tuple[int, ...], classes: int, *, width: int, depth: int, heads: int, patch: int,
    placement: str, qk: bool,
) -> list[Layer]:  # fmt: skip
    """``depth`` blocks of self-attention and of a hidden layer with GELU (Vaswani et al. 2017).

    What ``shape`` is decides the task. Token sequences (tokens,) are embedded; each position sees
    the ones before it alone and gives the outputs for its own label: a language model with
    ``classes`` tokens. Images (channels, height, width) come in patches of ``patch``² pixels
    (Dosovitskiy et al. 2021, arXiv:2010.11929), series (features, steps) step by step; of these
    every position sees every other, and the mean over positions is classified. Positions are
    learned.

    ``placement`` says where the norms stand: ``post`` behind each addition (arXiv:1706.03762),
    ``pre`` in front of each branch, with one more behind the last block (Xiong et al. 2020,
    arXiv:2002.04745), ``sandwich`` in front and behind each branch (Ding et al. 2021,
    arXiv:2105.13290). With ``qk`` norms stand on the queries and the keys of each head, too
    (Henry et al. 2020, arXiv:2010.04245; Dehghani et al. 2023, arXiv:2302.05442).

    The sites of block i are block<i>_attention and block<i>_mlp; in a sandwich also
    block<i>_attention_out and block<i>_mlp_out; with ``qk`` block<i>_query and block<i>_key; and
    but for ``post`` there is the site final. Raises :class:`~normbench.errors.UsageError` where
    heads do not divide the width, or patches the image.
    """
    if width % heads:
        raise UsageError(
            f"heads must divide the transformer's width; received heads = {heads} and width = "
            f"{width}; use a width such as {heads * max(1, round(width / heads))}"
        )
    causal = len(shape) == 1
    if causal:
        first: Layer = Embed("embedding", width, vocabulary=classes)
    else:
        if len(shape) == 3 and any(size % patch for size in shape[1:]):
            raise UsageError(
                f"patch must divide the height and the width of the images, {shape[1]}×{shape[2]} "
                f"pixels here; received patch = {patch}"
            )
        first = Patches("patches", width, patch)
    made: list[Layer] = [first]
    for i in range(1, depth + 1):
        name = f"block{i}"
        attend = (Attention(f"{name}_attend", heads, causal, name if qk else ""),)
        hidden = (
            Linear(f"{name}_hidden", _HIDDEN * width, tokens=True),
            Gelu(),
            Linear(f"{name}_down", width, tokens=True),
        )
        made += _branch(f"{name}_attention", attend, placement)
        made += _branch(f"{name}_mlp", hidden, placement)
    if placement != "post":
        made.append(Site("final", "pre", tokens=True))
    if causal:
        return [*made, Linear("classifier", classes, tokens=True)]
    return [*made, TokenMean(), Linear("classifier", classes)]


def _branch(site: str, body: tuple[Layer, ...], placement: str) -> list[Layer]:
    """A branch that is added to its input, with its norms."""
    norm = Site(site, "pre", tokens=True)
    if placement == "post":
        return [Residual(site, body), norm]
    behind = (Site(f"{site}_out", "pre", tokens=True),) if placement == "sandwich" else ()
    return [Residual(site, (norm, *body, *behind))]
