"""The index of cells finds what looking at every cell finds."""

from __future__ import annotations

import pytest

from normbench.protocol.matching import CellIndex
from tests.builders import experiment, study

CELLS = study(
    experiment(
        product={
            "norm": ["none", "group", {"name": "group", "groups": 4}],
            "batch_size": [8, 2, 4],
            "sites": ["all", ["fc1"]],
        }
    )
).experiments[0].cells  # fmt: skip


def fits(cell, axes):
    """What a claim's side means, said for one cell."""
    for axis, wanted in axes.items():
        value = getattr(cell, axis)
        if isinstance(wanted, str) and hasattr(value, "label"):
            if wanted not in (value.name, value.label):
                return False
        elif value != wanted:
            return False
    return True


@pytest.mark.parametrize(
    "axes",
    [
        {}, {"norm": "group"}, {"norm": "group(groups=4)"}, {"norm": "none", "batch_size": 4},
        {"norm": CELLS[-1].norm}, {"sites": ("fc1",), "batch_size": 2}, {"sites": "all"},
        {"norm": "layer"}, {"batch_size": 3}, {"optimizer": "sgd"},
    ],
)  # fmt: skip
def test_it_finds_what_looking_at_every_cell_finds(axes):
    index = CellIndex(CELLS)
    wanted = {i for i, cell in enumerate(CELLS) if fits(cell, axes)}
    assert index.fitting(axes) == wanted
    by_size = index.by_batch_size(wanted)
    assert {i for places in by_size.values() for i in places} == wanted
    assert all(CELLS[i].batch_size == size for size, places in by_size.items() for i in places)
    assert all(places == sorted(places) for places in by_size.values())
