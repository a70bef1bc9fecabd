"""Cells are checked one network at a time, and each gets what it would get alone."""

from __future__ import annotations

import pytest
import torch

from normbench.models import make
from normbench.protocol.schema import AXES
from normbench.training import check
from tests.builders import cell, experiment, study

#: Values of the axes that decide no shape, other than the usual ones.
OTHERS = {
    "learning_rate": 0.2, "epochs": 3, "optimizer": "adam", "clip_norm": 1.0,
    "lr_schedule": "cosine", "lr_scaling": "linear", "lr_reference_batch": 4,
    "evaluations_per_epoch": 2, "evaluations": 3, "input_norm": "raw", "input_units": "byte",
    "train_size": 40, "split_seed": 3, "validation_fraction": 0.3, "test_fraction": 0.3,
    "statistics_samples": 50, "probes": ["weights"],
}  # fmt: skip


def test_cells_that_differ_in_no_shape_are_built_once(monkeypatch):
    built = []
    real = make.build
    monkeypatch.setattr(make, "build", lambda *given: built.append(1) or real(*given))
    cells = [cell(), *(cell(**{axis: value}) for axis, value in OTHERS.items())]
    cells.append(cell(epochs=None, budget_steps=5))
    assert {found.kind for found in check.check_all(cells)} == {"sound"}
    assert len(built) == 1
    others = [cell(batch_size=4), cell(norm="layer"), cell(model="mlp"), cell(position="post")]
    check.check_all([*others, cell(init="he")])
    assert len(built) == 6


def test_every_axis_that_is_left_out_of_a_network_is_one():
    assert set(check._OF_NO_SHAPE) <= set(AXES)
    decide = {"dataset", "model", "norm", "batch_size", "norm_batch_size", "sites", "position"}
    assert not decide & set(check._OF_NO_SHAPE)


def test_each_cell_gets_what_it_would_get_alone():
    table = experiment(
        product={
            "norm": ["batch", "layer", "instance"], "batch_size": [1, 8, 70], "split_seed": [0, 1],
            "train_size": [50, 59], "input_norm": ["raw", "imagenet"],
        }
    )  # fmt: skip
    cells = study(table).experiments[0].cells
    together = check.check_all(cells)
    assert together == [check.check_all([one])[0] for one in cells]
    assert {found.kind for found in together} == {"sound", "undefined", "misfit"}


def test_checking_leaves_the_threads_as_they_were(monkeypatch):
    before = torch.get_num_threads()
    seen = []
    real = make.build
    monkeypatch.setattr(
        make, "build", lambda *given: seen.append(torch.get_num_threads()) or real(*given)
    )
    check.check_all([cell()])
    assert seen == [1]
    assert torch.get_num_threads() == before
    monkeypatch.setattr(make, "build", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        check.check_all([cell()])
    assert torch.get_num_threads() == before
