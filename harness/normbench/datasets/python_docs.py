"""Real text that every machine has: the English of Python's own reference, by characters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.base import Arrays
from normbench.datasets.split import stratified_subset


@lru_cache(maxsize=1)
def read_text() -> str:
    """The topics of ``help()``, in the order of their names: some 465,000 characters."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name].strip() for name in sorted(topics))


class PythonDocs:
    """Windows of text, of which each character is to be predicted from those before it.

    The text is part of the interpreter, and so differs a little from version to version; its hash
    is recorded with the results.
    """

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """Never missing: the text is part of the standard library."""
        del params
        return None

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """Windows of ``length`` characters that follow each other; each one's label is the next.

        The vocabulary, which the classes are, holds all characters of the text in their order.
        """
        text, length = read_text(), params["length"]
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        vocabulary, tokens = np.unique(codes, return_inverse=True)
        windows = (len(tokens) - 1) // length
        count = windows * length
        x: NDArray[np.int64] = tokens[:count].astype(np.int64).reshape(windows, length)
        y = tokens[1 : count + 1].astype(np.int64).reshape(windows, length)
        key = f"python-docs/1/{length}/{params['items']}"
        if params["items"]:
            chosen = stratified_subset(np.zeros(windows, dtype=np.int64), key, params["items"])
            x, y = x[chosen], y[chosen]
        return Arrays(key, x, y, len(vocabulary))


PYTHON_DOCS = PythonDocs()
