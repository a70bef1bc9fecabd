"""The gradient of a convolution's input from the gradients of its windows, against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from normbench.models.packed.block import Workspace
from normbench.models.packed.col2im import Col2im
from normbench.models.packed.graph import ConvNode


@pytest.mark.parametrize("whole", [0, 1 << 21])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        (3, 1, 1, (5, 4)),
        (5, 2, 2, (9, 7)),
        (2, 1, 0, (4, 4)),
        (1, 1, 2, (3, 3)),
        (3, 2, 3, (5, 5)),
        (1, 4, 1, (3, 3)),  # windows that see nothing but padding
    ],
)
def test_the_gradient_is_that_of_torch(
    kernel: int,
    stride: int,
    padding: int,
    size: tuple[int, int],
    whole: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one piece, and image by image."""
    monkeypatch.setattr("normbench.models.packed.pieces.WHOLE_BYTES", whole)
    monkeypatch.setattr("normbench.models.packed.pieces.PIECE_BYTES", 1)
    generator = torch.Generator().manual_seed(0)
    members, images, channels, outputs = 3, 2, 4, 5
    x = torch.randn(members, images, channels, *size, generator=generator, dtype=torch.float64)
    shape = (members, outputs, kernel, kernel, channels)
    weight = torch.randn(shape, generator=generator, dtype=torch.float64)
    filters = weight.movedim(-1, 2)
    out = torch.full((members, images, *size, channels), 7.0, dtype=torch.float64)
    found = functional.conv2d(x[0], filters[0], stride=stride, padding=padding)
    after = (*found.shape[2:], outputs)
    gradient = torch.randn(members, images, *after, generator=generator, dtype=torch.float64)
    matrix = weight.reshape(members, outputs, -1)
    node = ConvNode("c", (*size, channels), after, kernel=kernel, stride=stride, padding=padding)
    fold = Col2im(node, out, matrix, Workspace(torch.float64, "cpu"))
    assert len(fold.pieces) == (1 if whole else members * images)
    for _ in range(2):  # nothing of the last time is left
        back = fold.into(gradient)
        for member in range(members):
            expected = torch.nn.grad.conv2d_input(
                x[member].shape, filters[member], gradient[member].movedim(-1, 1), stride, padding
            )
            assert torch.allclose(back[member], expected.movedim(1, -1), atol=1e-12)
