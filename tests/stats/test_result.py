import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from normbench.stats import Result, paired

BASE = Result(
    name="a comparison",
    estimand="mean of x",
    estimate=0.25,
    interval=(-0.5, 1.0),
    level=0.95,
    p=0.04,
    n=6,
    values=(1.0, 2.0),
    assumptions=("symmetry",),
    warnings=("skewed",),
    details={"sd": 0.5, "fragile": True, "second_interval": (0.0, 2.0), "note": "n", "gap": None},
)


def test_text_shows_everything_aligned():
    text = str(BASE)
    lines = text.splitlines()
    assert lines[0] == "a comparison"
    shown = {line[2 : 2 + 15].strip(): line[19:].strip() for line in lines[1:]}
    assert shown["estimand"] == "mean of x"
    assert shown["estimate"] == "0.25"
    assert shown["95 % interval"] == "-0.5 to 1"
    assert shown["p"] == "0.04"
    assert shown["n"] == "6"
    assert shown["values"] == "1 2"
    assert shown["sd"] == "0.5"
    assert shown["fragile"] == "yes"
    assert shown["second interval"] == "0 to 2"
    assert shown["warning"] == "skewed"
    assert shown["assumes"] == "symmetry"
    assert "gap" not in shown
    assert max(map(len, lines)) <= 100


def test_refusal_shows_no_p_and_no_interval():
    text = str(replace(BASE, p=None, interval=None, level=None, refusal="5 seeds"))
    assert "refused" in text
    assert "5 seeds" in text
    assert "\n  p " not in text
    assert "%" not in text


def test_html_is_escaped():
    page = replace(BASE, name="<b>", warnings=("a & b < c",))._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "a &amp; b &lt; c" in page
    assert page.startswith("<table>")
    assert page.count("<tr>") == len(BASE.rows())


def test_infinite_and_tiny_numbers_have_words():
    text = str(replace(BASE, estimate=np.inf, interval=(-np.inf, 1.0), p=1e-9))
    assert "∞" in text
    assert "−∞ to 1" in text
    assert "< 1e-6" in text
    assert "none" in str(replace(BASE, estimate=float("nan")))


def test_excludes_is_closed_at_the_ends():
    assert BASE.excludes(1.01)
    assert not BASE.excludes(1.0)
    assert not replace(BASE, interval=None).excludes(99.0)


def test_frozen_comparable_and_portable():
    with pytest.raises(FrozenInstanceError):
        BASE.p = 0.5
    assert pickle.loads(pickle.dumps(BASE)) == BASE
    assert len({BASE, replace(BASE)}) == 1


def test_numbers_in_results_are_plain_python():
    result = paired(np.arange(8.0), np.arange(8.0)[::-1] + 0.5, goal="min")
    assert type(result.estimate) is float
    assert type(result.p) is float
    assert all(type(v) is float for v in (*result.values, *result.interval))
    assert all(not isinstance(v, np.generic) for v in result.details.values())
