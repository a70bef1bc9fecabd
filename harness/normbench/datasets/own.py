"""Data of the user's own: what a function or class that a protocol names gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from normbench.catalog.guard import guarding
from normbench.catalog.target import made, packages_of_target
from normbench.datasets.base import Arrays
from normbench.datasets.given import data_set
from normbench.datasets.map_style import array_of, is_map_style, items_of
from normbench.datasets.named import PARTS, WHOLE, Pairs, pairs_of
from normbench.errors import UsageError
from normbench.plan.seeds import stream_key

_FORMS = (
    "it gives a dictionary of arrays (x and y, or x_train, y_train and others), a tuple (x, y), a "
    "tuple ((x_train, y_train), (x_test, y_test)) or with validation between them, or a map-style "
    "Dataset of (input, label), or a tuple of these by part"
)


class OwnData:
    """What ``target`` gives, called with ``args``; ``layout``, ``task`` and ``tolerance``."""

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """Never missing: that the target is there is asked before."""
        del params
        return None

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """The data; whatever the target draws by torch, numpy or random is the same every time.

        Raises :class:`UsageError` for what training would misread, and
        :class:`~normbench.errors.ComponentError` where the target raises.
        """
        from normbench.datasets.drawing import drawing  # it needs torch, which a report does not

        text = str(params["target"])
        with drawing(stream_key(0, "draw", f"own data {text}")):
            given = made(text, params["args"], {})
            with guarding(packages_of_target(text), UsageError):
                pairs = _pairs(given, text)
        return data_set(pairs, params, text)


def _pairs(given: Any, text: str) -> Pairs:
    if isinstance(given, Mapping):
        return pairs_of({str(k): array_of(v, text) for k, v in given.items()}, text)
    if isinstance(given, tuple) and len(given) in (2, 3):
        names = [*PARTS] if len(given) == 3 else ["train", "test"]
        if all(isinstance(one, tuple) and len(one) == 2 for one in given):
            return {
                name: (array_of(x, text), array_of(y, text))
                for name, (x, y) in zip(names, given, strict=True)
            }
        if all(is_map_style(one) for one in given):
            return {name: items_of(one, text) for name, one in zip(names, given, strict=True)}
        if len(given) == 2:
            return {WHOLE: (array_of(given[0], text), array_of(given[1], text))}
    if is_map_style(given):
        return {WHOLE: items_of(given, text)}
    kind = f"a tuple of {len(given)}" if isinstance(given, tuple) else type(given).__name__
    raise UsageError(f"the target {text} is to give a data set: {_FORMS}; it gave {kind}")


OWN = OwnData()
