"""Text of Python's reference: windows that follow each other, and the next character of each."""

from __future__ import annotations

from pydoc_data.topics import topics

import numpy as np
import pytest

from normbench.catalog import DATASETS
from normbench.datasets.python_docs import read_text
from normbench.datasets.sound import check_arrays
from normbench.errors import UsageError


def load(**params):
    given = {key: param.default for key, param in DATASETS["python-docs"].params.items()}
    return DATASETS["python-docs"].load().load({**given, **params})


def test_windows_are_the_text_and_labels_what_comes_next():
    arrays, text = load(length=50), read_text()
    letters = np.array(sorted(set(text)))
    assert len(letters) == arrays.classes
    assert "".join(letters[arrays.inputs].reshape(-1)) == text[: arrays.inputs.size]
    assert "".join(letters[arrays.labels].reshape(-1)) == text[1 : arrays.inputs.size + 1]
    assert len(text) - arrays.inputs.size <= 50
    assert arrays.inputs.shape == arrays.labels.shape == (arrays.inputs.size // 50, 50)
    check_arrays(arrays)
    assert arrays.of_tokens


def test_it_is_english_and_all_of_it():
    text = read_text()
    assert len(text) > 300_000
    assert text.startswith('The "assert" statement')
    assert all(topic.strip() in text for topic in topics.values())
    assert text.count(" the ") > 1000


def test_some_windows_are_the_same_ones_each_time():
    few, again, all_of_them = load(items=100), load(items=100), load()
    assert np.array_equal(few.inputs, again.inputs)
    assert few.classes == all_of_them.classes
    assert few.sha256 == again.sha256 != all_of_them.sha256
    rows = {row.tobytes() for row in all_of_them.inputs}
    assert all(row.tobytes() in rows for row in few.inputs)
    with pytest.raises(UsageError, match="items must not exceed"):
        load(items=10**6)
