"""Every built-in norm conforms in packed form, and the check sees a packed form that is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn

from normbench.catalog import NORMS, Entry
from normbench.conformance import ConformanceError
from normbench.conformance.packed import check_packed
from normbench.models.packed.batch_norm import BatchNorms
from normbench.models.packed.layer_norm import LayerNorms


@pytest.mark.parametrize("name", NORMS.complete)
def test_every_norm_conforms(name: str) -> None:
    check_packed(name)


def own(shape: tuple[int, ...]) -> nn.Module:
    return nn.LayerNorm(shape)


def test_a_norm_with_a_plain_form_only_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NORMS._entries, "own", Entry(f"{__name__}:own", "a test"))
    check_packed("own")


def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = LayerNorms.backward

    def wrong(self: LayerNorms, gradient: Tensor) -> Tensor:
        return right(self, gradient).mul_(1.01)

    monkeypatch.setattr(LayerNorms, "backward", wrong)
    with pytest.raises(ConformanceError, match=r"of layer at .* is not the same in packed form"):
        check_packed("layer")


def test_wrong_running_statistics_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(self: BatchNorms, found: Any) -> None:
        del self, found

    monkeypatch.setattr(BatchNorms, "update_running", forgets)
    with pytest.raises(ConformanceError, match="running"):
        check_packed("batch")
