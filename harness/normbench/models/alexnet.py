"""AlexNet in torchvision's layout (Krizhevsky 2014, arXiv:1404.5997), whole and scaled down."""

from __future__ import annotations

from normbench.errors import UsageError
from normbench.models.layers import Conv, Dropout, Flatten, Layer, Linear, MaxPool, activated


def layers(shape: tuple[int, ...], classes: int, *, width: float, dropout: float) -> list[Layer]:
    """Five convolutions, three pools and two hidden linear layers with dropout.

    ``shape`` is (channels, R, R). From 128 pixels on the first convolution is torchvision's (11×11,
    stride 4) and the hidden layers have 4096·width units; at 64 and 32 pixels it is 5×5 with
    stride 2 or 1, so that the later layers see 15×15 and 7×7 maps as in the design for small
    images, and the hidden layers have 1024·width units. ``width`` scales the channels 64, 192,
    384, 256, 256. The sites are conv1 to conv5, fc1 and fc2. Raises
    :class:`~normbench.errors.UsageError` for other resolutions.
    """
    resolution = shape[1]
    c1, c2, c3, c4, c5 = (max(1, round(c * width)) for c in (64, 192, 384, 256, 256))
    if resolution >= 128:
        first = Conv("conv1", c1, kernel=11, stride=4, padding=2)
        hidden = max(1, round(4096 * width))
    elif resolution in (32, 64):
        first = Conv("conv1", c1, kernel=5, stride=resolution // 32, padding=2)
        hidden = max(1, round(1024 * width))
    else:
        raise UsageError(
            f"alexnet takes images of 32, 64, or at least 128 pixels; received {resolution}"
        )
    return [
        *activated(first),
        MaxPool(3, 2),
        *activated(Conv("conv2", c2, kernel=5, padding=2)),
        MaxPool(3, 2),
        *activated(Conv("conv3", c3, kernel=3, padding=1)),
        *activated(Conv("conv4", c4, kernel=3, padding=1)),
        *activated(Conv("conv5", c5, kernel=3, padding=1)),
        MaxPool(3, 2),
        Flatten(),
        Dropout("dropout1", dropout),
        *activated(Linear("fc1", hidden)),
        Dropout("dropout2", dropout),
        *activated(Linear("fc2", hidden)),
        Linear("classifier", classes),
    ]
