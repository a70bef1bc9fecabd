"""A narrow residual net in the layout for small images (He et al. 2016, arXiv:1512.03385)."""

from __future__ import annotations

from normbench.errors import UsageError
from normbench.models.layers import (
    Conv,
    GlobalMean,
    Layer,
    Linear,
    ReLU,
    Residual,
    Site,
    activated,
)

#: From so many pixels on, the first convolution has stride 2.
_LARGE = 64


def layers(
    shape: tuple[int, ...], classes: int, *, width: int, blocks: int, zero_init: bool
) -> list[Layer]:
    """A 3×3 convolution, three stages of ``blocks`` basic blocks, the mean, and a classifier.

    ``shape`` is (channels, height, width) of an input, at least 8×8. The stages have ``width``,
    twice and four times as many channels; the second and the third begin with stride 2. From 64
    pixels on the first convolution has stride 2, so that images of 32 and 64 pixels cost the same.
    There are 6·``blocks`` + 2 layers with weights on the longest path.

    A basic block is two 3×3 convolutions, each with its site; the input is added behind the second
    one's norm and before its activation. Where the shape changes, the shortcut is a 1×1 convolution
    with a site of its own, which has no activation: the norm stands right behind it in both
    positions. With position ``post`` the second convolution's norm stands behind the activation
    that follows the addition. With ``zero_init`` the scale of the norm right before the addition
    starts at 0 (Goyal et al. 2017, arXiv:1706.02677); norms without a scale, and position
    ``post``, have no use for it.

    The sites are conv1, and for block i block<i>_conv1, block<i>_conv2 and block<i>_shortcut.
    Raises :class:`~normbench.errors.UsageError` for smaller images.
    """
    if min(shape[1:]) < 8:
        raise UsageError(f"resnet takes images of at least 8 pixels; received {shape[1:]}")
    stride = 2 if min(shape[1:]) >= _LARGE else 1
    made = activated(Conv("conv1", width, kernel=3, stride=stride, padding=1))
    channels = width
    for i in range(3 * blocks):
        stage, first = divmod(i, blocks)
        wanted = width * 2**stage
        made += _block(
            f"block{i + 1}", channels, wanted, 2 if stage and not first else 1, zero_init
        )
        channels = wanted
    return [*made, GlobalMean(), Linear("classifier", classes)]


def _block(name: str, channels: int, wanted: int, stride: int, zero_init: bool) -> list[Layer]:
    one = Conv(f"{name}_conv1", wanted, kernel=3, stride=stride, padding=1)
    two = Conv(f"{name}_conv2", wanted, kernel=3, padding=1)
    body = (*activated(one), two, Site(two.name, "pre", zero_scale=zero_init))
    shortcut: tuple[Layer, ...] = ()
    if stride > 1 or wanted != channels:
        across = Conv(f"{name}_shortcut", wanted, kernel=1, stride=stride)
        shortcut = (across, Site(across.name, "pre"), Site(across.name, "post"))
    return [Residual(name, body, shortcut), ReLU(), Site(two.name, "post")]
