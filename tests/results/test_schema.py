"""Declared columns: types, versions and rows of what is planned."""

from __future__ import annotations

import pyarrow as pa
import pytest

from normbench.protocol.schema import AXES
from normbench.results.schema import (
    EPOCHS,
    MEASURED_COLUMNS,
    RUNS,
    SCHEMA_VERSION,
    STATUSES,
    TABLES,
    PlannedRows,
    arrow_schema,
    axis_values,
    to_table,
)
from tests.support import TINY, plan_of


@pytest.mark.parametrize("table", TABLES)
def test_columns_are_described_once_and_carry_the_version(table):
    names = [c.name for c in TABLES[table]]
    assert len(names) == len(set(names))
    assert all(c.doc for c in TABLES[table])
    schema = arrow_schema(table)
    assert schema.names == names
    assert schema.metadata == {b"normbench_schema": str(SCHEMA_VERSION).encode()}
    assert [schema.field(c.name).type for c in TABLES[table]] == [c.type for c in TABLES[table]]


def test_every_axis_is_a_column_and_every_component_has_its_parameters():
    names = {c.name for c in RUNS}
    assert set(AXES) <= names
    assert {f"{c}_params" for c in ("dataset", "model", "norm", "optimizer")} <= names
    assert {c.name for c in (*RUNS, *EPOCHS)} >= MEASURED_COLUMNS


def test_absent_keys_become_nulls_and_unknown_ones_are_a_bug():
    table = to_table("epochs", [{"run_hash": "a", "val_loss": 1.5}, {"run_hash": "b"}])
    assert table["val_loss"].to_pylist() == [1.5, None]
    assert table["step"].null_count == 2
    with pytest.raises(KeyError, match=r"val_los.*nearest: val_loss"):
        to_table("epochs", [{"run_hash": "a", "val_los": 1.0}])
    with pytest.raises(pa.ArrowException):
        to_table("epochs", [{"run_hash": "a", "step": "three"}])


def test_no_rows_give_an_empty_table_of_the_declared_types():
    for name in TABLES:
        assert to_table(name, []).schema.equals(arrow_schema(name), check_metadata=True)


def test_a_planned_row_fits_the_table_and_holds_the_resolved_cell():
    planned = plan_of(TINY)
    undefined = {planned.runs[0].cell_hash: "no meaning"}
    rows = list(PlannedRows(planned.runs, undefined))
    table = to_table("runs", rows)
    assert table.num_rows == len(planned.runs) == 8
    assert table["status"].to_pylist()[:3] == ["undefined", "undefined", "missing"]
    assert set(table["status"].to_pylist()) <= set(STATUSES)
    assert table["error"].to_pylist()[:3] == ["no meaning", "no meaning", None]
    first = table.to_pylist()[0]
    assert first["norm"] == "batch"
    assert '"momentum": 0.1' in first["norm_params"]
    assert first["model"] == "mlp(width=8)"
    assert (first["batch_size"], first["sites"], first["planned"]) == (8, "all", True)


def test_lists_of_sites_are_one_text():
    planned = plan_of(TINY.replace("epochs = 1", 'epochs = 1\nsites = ["fc1", "fc2"]'))
    assert axis_values(planned.runs[0].cell)["sites"] == "fc1,fc2"


def test_the_learning_rate_stands_beside_the_scaled_one():
    scaled = TINY.replace("epochs = 1", 'epochs = 1\nlr_scaling = "linear"')
    values = axis_values(plan_of(scaled).runs[0].cell)
    assert (values["learning_rate"], values["scaled_learning_rate"]) == (0.1, 0.1 * 8 / 32)
