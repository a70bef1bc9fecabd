"""The arguments that a protocol gives a target: plain values, of which some are filled in later."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from normbench.errors import UsageError

#: What may be asked for by ``"$name"``, and what stands there when the target is called.
PLACEHOLDERS = {
    "classes": "the outputs that the data ask for",
    "in_shape": "the shape of one input, as (channels, height, width)",
    "in_channels": "the channels of the inputs",
    "channels": "the channels at the place of the norm",
    "shape": "the shape of a sample at the place of the norm",
}


class Args(dict[str, Any]):
    """A table of plain values that is never changed, so that it may be part of a key.

    Lists in it are tuples and tables in it are of this class.
    """

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self, sort_keys=True))

    def __reduce__(self) -> tuple[Any, ...]:
        return Args, (dict(self),)

    def _fixed(self, *_args: object, **_values: object) -> NoReturn:
        raise TypeError("arguments of a protocol are not changed")

    __setitem__ = __delitem__ = update = setdefault = pop = popitem = clear = __ior__ = _fixed

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(
            lambda value: dict(args_of(value)),
            core_schema.no_info_after_validator_function(cls, core_schema.dict_schema()),
            serialization=core_schema.plain_serializer_function_ser_schema(dict),
        )

    @property
    def label(self) -> str:
        """The values that a person chose, as ``p=2, affine=True``, without what is filled in."""
        return ", ".join(f"{key}={text}" for key, text in self.shown.items())

    @property
    def shown(self) -> dict[str, str]:
        """The values that a person chose, each as a text."""
        return {key: _shown(v) for key, v in self.items() if not _is_asked(v)}


class Names(tuple[str, ...]):
    """Several names, in an order, as a parameter; nothing where none is given."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema

        texts = core_schema.list_schema(core_schema.str_schema(min_length=1), max_length=1000)
        return core_schema.no_info_before_validator_function(
            lambda value: list(value) if isinstance(value, tuple) else value,
            core_schema.no_info_after_validator_function(cls, texts),
            serialization=core_schema.plain_serializer_function_ser_schema(list),
        )

    def __str__(self) -> str:
        return "+".join(self)


def args_of(value: Any) -> Args:
    """A table of a protocol as :class:`Args`; ``ValueError`` where it holds anything else."""
    if not isinstance(value, Mapping):
        raise ValueError('must be a table, such as { channels = "$channels" }')
    for key in value:
        if not isinstance(key, str) or not key.isidentifier():
            raise ValueError(f"{key!r} is no name of an argument")
    return Args({key: _plain(one) for key, one in value.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Args({str(key): _plain(one) for key, one in value.items()})
    if isinstance(value, list | tuple):
        return tuple(_plain(one) for one in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("numbers must be finite")
    if not isinstance(value, bool | int | float | str):
        raise ValueError(
            f"arguments are numbers, texts, true or false, lists and tables of them; received "
            f"{type(value).__name__}"
        )
    if isinstance(value, str) and _is_asked(value) and value[1:] not in PLACEHOLDERS:
        known = ", ".join(f"${name}" for name in PLACEHOLDERS)
        raise ValueError(f"there is no {value}; known: {known}; a text that starts so is $${value}")
    return value


def _is_asked(value: Any) -> bool:
    """Whether a value is to be filled in; ``$$text`` is the text ``$text``."""
    return isinstance(value, str) and value.startswith("$") and not value.startswith("$$")


def asks(args: Mapping[str, Any]) -> bool:
    """Whether any of the arguments is to be filled in."""

    def one(value: Any) -> bool:
        inner = value.values() if isinstance(value, Mapping) else value
        return any(map(one, inner)) if isinstance(value, Mapping | tuple) else _is_asked(value)

    return any(map(one, args.values()))


def filled(args: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with ``"$classes"`` and the like replaced by ``values["classes"]``.

    Tables are plain dicts and lists are lists again, as a protocol has them. Raises
    :class:`UsageError` where one asks for what there is not at this place.
    """

    def one(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: one(inner) for key, inner in value.items()}
        if isinstance(value, tuple):
            return [one(inner) for inner in value]
        if not _is_asked(value):
            return value[1:] if isinstance(value, str) and value.startswith("$$") else value
        if value[1:] not in values:
            known = ", ".join(f"${name}" for name in values)
            raise UsageError(f"there is no {value} for this target; likely fix: one of {known}")
        return values[value[1:]]

    return {key: one(value) for key, value in args.items()}


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={_shown(one)}" for key, one in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return str(value)
