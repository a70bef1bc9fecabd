"""Texts of users are data in every export: no formula in a table, no markup on a page."""

from __future__ import annotations

import csv
import io
import sys
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from normbench.analysis.export import harmless, to_csv
from normbench.catalog import target as targets


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd", "-x", "@SUM(A1)", "\t=1", " =1", "\r@x", "-2+3", "＝1", "-", "--1"]
)
def test_what_a_spreadsheet_would_compute_is_a_text(text):
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize(
    "value", ["-1.5", "+3", "-1e-3", "a=b", "x@y", "batch-frozen", "", -1.5, None, True]
)
def test_numbers_and_other_texts_stay(value):
    assert harmless(value) is value


def test_a_table_keeps_its_numbers_and_says_which_texts_are_none():
    table = pd.DataFrame({"norm": ["=A1", "layer"], "=x": [-1.5, np.nan], "n": [-1, 2]})
    rows = list(csv.reader(io.StringIO(to_csv(table))))
    assert rows == [["norm", "'=x", "n"], ["'=A1", "-1.5", "-1"], ["layer", "", "2"]]


@pytest.fixture
def _clean(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = list(sys.path)
    yield
    sys.path[:] = path
    targets._loaded.clear()
    targets.use_root("")


NAME = "=1+2<b>"
PROTOCOL = f"""
[protocol]
seeds = 3
window = 1
[defaults]
dataset = {{ name = "digits", items = 100 }}
model = {{ name = "mlp", width = 4 }}
batch_size = 8
learning_rate = 0.1
budget_steps = 4
[[experiment]]
name = "a"
product.norm = ["layer", {{ name = "own", target = "{NAME}.py:Mine" }}]
product.batch_size = [4, 8]
"""


@pytest.mark.usefixtures("_clean")
def test_a_norm_that_is_named_like_a_formula_and_a_tag_is_neither(cli, tmp_path):
    (tmp_path / f"{NAME}.py").write_text(
        "from torch import nn\nclass Mine(nn.Identity):\n    pass\n"
    )
    (tmp_path / "own.toml").write_text(PROTOCOL)
    assert cli("run", "own.toml", "--workers", "0", "--trust", "--engine", "plain").status == 0
    assert cli("analyse", "results/own").status == 0
    assert cli("report", "results/own").status == 0
    tables = list((tmp_path / "reports/own_tables").glob("*.csv"))
    page = (tmp_path / "reports/own.html").read_text(encoding="utf-8")
    links = [
        unquote(part.partition('"')[0]) for part in page.split("data:text/csv;charset=utf-8,")[1:]
    ]
    texts = [path.read_text(encoding="utf-8") for path in tables] + links
    cells = [cell for text in texts for row in csv.reader(io.StringIO(text)) for cell in row]
    assert sum(cell.startswith(f"'{NAME}") for cell in cells) > 5
    assert not [cell for cell in cells if cell != harmless(cell)]
    assert "<b>.py" not in page
    assert "&lt;b&gt;.py" in page
