"""A tiny data set of tokens, for tests: what follows a letter depends on the two before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from normbench.catalog import DATASETS, Entry
from normbench.datasets.base import Arrays

TOKENS, VOCABULARY, ITEMS = 12, 7, 80


class Letters:
    """Sequences of 12 letters of 7, and for each the next one."""

    def missing(self, params: Mapping[str, Any]) -> str | None:
        del params
        return None

    def load(self, params: Mapping[str, Any]) -> Arrays:
        del params
        rng = np.random.default_rng(0)
        text = rng.integers(0, VOCABULARY, (ITEMS, TOKENS + 1))
        for t in range(2, TOKENS + 1):
            text[:, t] = (text[:, t - 1] + 2 * text[:, t - 2] + 1) % VOCABULARY
        return Arrays("letters/1", text[:, :-1].copy(), text[:, 1:].copy(), VOCABULARY)


LETTERS = Letters()


#: The name under which the tests have it: another data set's without parameters.
NAME = "diabetes"


def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let :data:`NAME` mean this data set for one test."""
    monkeypatch.setitem(DATASETS._entries, NAME, Entry("tests.letters:LETTERS", "letters"))
