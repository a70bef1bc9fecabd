"""A norm that is put into float32 is the same module, and computes as it says."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from normbench.norms.float32 import put_into_float32


class Mixing(nn.Module):
    """A norm with a product inside, which autocast would compute in 16 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(8, 8)
        self.seen: list[torch.dtype] = []

    def forward(self, x: Tensor) -> Tensor:
        found = self.mix(x)
        self.seen.append(found.dtype)
        return found


@pytest.mark.parametrize("short", [torch.bfloat16, torch.float16])
def test_it_computes_in_float32_and_gives_what_it_is_given(short: torch.dtype) -> None:
    norm = Mixing()
    names = list(norm.state_dict())
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    wanted = norm(x.to(short).float())
    put_into_float32(norm)
    norm.seen.clear()
    with torch.autocast("cpu", short):
        found = norm(x.to(short))
    assert norm.seen[0] == torch.float32
    assert found.dtype == short
    assert torch.equal(found, wanted.to(short))
    assert list(norm.state_dict()) == names
    assert isinstance(norm, Mixing)


def test_longer_numbers_are_left_alone() -> None:
    norm = Mixing().double()
    x = torch.randn(4, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = norm(x)
    put_into_float32(norm)
    assert torch.equal(norm(x), wanted)


def test_a_copy_is_a_module_of_its_own() -> None:
    norm = nn.LayerNorm(8)
    put_into_float32(norm)
    other = copy.deepcopy(norm)
    with torch.no_grad():
        other.weight.zero_()
    x = torch.ones(2, 8).cumsum(1)
    assert float(other(x).detach().abs().max()) == 0.0
    assert float(norm(x).detach().abs().max()) > 1.0
    assert type(other) is type(norm)
