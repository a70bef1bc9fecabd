"""Turning pydantic's errors into faults that a person can mend: path, value, rule, likely fix."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from normbench.catalog import CHOICE_AXES, LIST_AXES, PROBES, Catalog, nearest
from normbench.errors import Fault
from normbench.protocol.choice import choice_models
from normbench.protocol.claims import Claim, ClaimEndpoint, Family, Over, Reference, Side
from normbench.protocol.file import ProtocolFile
from normbench.protocol.schema import AXES
from normbench.protocol.tables import Endpoint, ExperimentTable, FixedAxes, Header, Tune

_NESTED: dict[tuple[str, ...], Any] = {
    ("claim",): Claim,
    ("claim", "a"): Side,
    ("claim", "b"): Side,
    ("claim", "endpoint"): ClaimEndpoint,
    ("claim", "over"): Over,
    ("claim", "reference"): Reference,
    ("family",): Family,
    ("experiment", "tune"): Tune,
}

#: The axes that choose components, each with those that there are.
_COMPONENTS = {**CHOICE_AXES, **LIST_AXES}

#: Faults that are worded; a file with more is not mended one by one.
MOST_FAULTS = 500

_NUMBER_RULES = {
    "greater_than": ("must be greater than {gt}", "gt"),
    "greater_than_equal": ("must be at least {ge}", "ge"),
    "less_than": ("must be less than {lt}", "lt"),
    "less_than_equal": ("must be at most {le}", "le"),
}
_TYPE_RULES = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be a text in quotes",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "finite_number": "must be a finite number",
}


def shown(value: Any, limit: int = 80) -> str:
    """A value as the user wrote it, shortened where it is long."""
    try:
        text = repr(value)
    except ValueError:  # a number of more than 4,300 digits, written in hexadecimal ones
        text = "a number of thousands of digits"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def toml_path(parts: Sequence[str | int]) -> str:
    """``('experiment', 0, 'product', 'norm', 1)`` as ``experiment[0].product.norm[1]``."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:  # a key that is no plain word is shown in quotes, and cut where it is long
            word = part if len(part) <= 64 and _is_key(part) else shown(part)
            text += f".{word}" if text else word
    return text or "(the whole file)"


def _is_key(part: str | int) -> bool:
    """Whether a part of a location may be a key: pydantic's tags, as ``tuple[str]``, are none."""
    return re.fullmatch(r"[\w-]+", str(part)) is not None


def locate(document: Any, loc: Sequence[str | int]) -> tuple[list[str | int], Any]:
    """Follow pydantic's location through the document, leaving out its union tags.

    Returns the path and the value there; a key that is absent ends the walk with ``None``.
    """
    path: list[str | int] = []
    value: Any = document
    for i, part in enumerate(loc):
        in_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if in_list or (isinstance(value, Mapping) and part in value):
            value = value[part]
        elif isinstance(value, Mapping) and i == len(loc) - 1 and _is_key(part):
            path.append(part)
            return path, None
        else:
            continue
        path.append(part)
    return path, value


def allowed_keys(path: Sequence[str | int], document: Any) -> list[str]:
    """The keys that the table at ``path`` may hold."""
    steps = [p for p in path if isinstance(p, str)]
    if not steps:
        return list(ProtocolFile.model_fields)
    if steps[-1] in _COMPONENTS:
        _, table = locate(document, path)
        name = table.get("name") if isinstance(table, Mapping) else None
        model = choice_models(_COMPONENTS[steps[-1]]).get(str(name))
        return list(model.model_fields) if model else ["name"]
    if steps[-1] in ("product", "zip"):
        return list(AXES)
    if steps == ["protocol"]:
        return list(Header.model_fields)
    if steps == ["defaults"] or steps == ["claim", "where"]:
        return list(FixedAxes.model_fields)
    nested = _NESTED.get(tuple(steps))
    if nested is not None:
        return list(nested.model_fields)
    return list(ExperimentTable.model_fields)


def _unknown_key(path: list[str | int], document: Any) -> Fault:
    key = str(path[-1])
    allowed = allowed_keys(path[:-1], document)
    close = nearest(key, allowed)
    hint = f"did you mean {close!r}?" if close else f"known keys: {', '.join(allowed)}"
    steps = [p for p in path[:-1] if isinstance(p, str)]
    if steps == ["defaults"] and key in Endpoint.model_fields:
        hint = f"{key!r} belongs to [protocol] or to an [[experiment]]"
    if steps == ["protocol"] and key in AXES:
        hint = f"{key!r} is an axis: it belongs to [defaults] or to an [[experiment]]"
    _, value = locate(document, path)
    return Fault(toml_path(path), shown(value), f"unknown key {key!r}", hint)


def _unknown_component(
    where: str, value: Any, name: str, catalog: Catalog, also: str = ""
) -> Fault:
    """A name that is not in a catalogue, or is there and cannot be used."""
    if name in catalog.unusable:
        rule = str(catalog.unusable[name])
        return Fault(where, shown(value), rule, "mend or uninstall that package")
    close = nearest(name, catalog)
    hint = (f"did you mean {close!r}? " if close else "") + f"known: {also}{', '.join(catalog)}"
    return Fault(where, shown(value), f"unknown {catalog.kind} {name!r}", hint)


def _fault(error: Mapping[str, Any], document: Any) -> Fault | None:
    kind, context = error["type"], error.get("ctx") or {}
    path, value = locate(document, error["loc"])
    where = toml_path(path)
    if kind == "extra_forbidden":
        return _unknown_key(path, document)
    if kind == "missing":
        return Fault(where, "", "this key is required", "add it")
    if kind == "union_tag_invalid":
        axis = next(p for p in reversed(path) if isinstance(p, str))
        catalog = _COMPONENTS["norm" if axis not in _COMPONENTS else axis]
        return _unknown_component(where, value, str(context["tag"]), catalog)
    if kind == "too_short" and value:
        return None  # an echo: the list has items, and their own faults are reported
    if kind == "too_short":
        return Fault(where, shown(value), "must not be empty", "list at least one value")
    if kind == "too_long":
        rule = f"holds {context['actual_length']} values; at most {context['max_length']} allowed"
        return Fault(where, shown(value), rule)
    if kind == "literal_error" and "probes" in path:
        return _unknown_component(where, value, str(value), PROBES, "all, ")
    if kind == "literal_error":
        options = re.findall(r"'([^']*)'", str(context["expected"]))
        close = nearest(str(value), options)
        hint = f"did you mean {close!r}?" if close else ""
        return Fault(where, shown(value), f"must be one of {', '.join(options)}", hint)
    if kind in _NUMBER_RULES:
        rule, key = _NUMBER_RULES[kind]
        return Fault(where, shown(value), rule.format(**{key: f"{context[key]:,}"}))
    if kind == "string_pattern_mismatch":
        rule = "must be lower-case letters, digits, - and _, at most 64, starting with a letter"
        return Fault(where, shown(value), rule + " or digit")
    if kind == "tuple_type" and where in ("experiment", "claim", "family"):
        rule = f"{where} must be a list of tables"
        return Fault(where, shown(value), rule, f"write [[{where}]] instead of [{where}]")
    if kind in _TYPE_RULES:
        return Fault(where, shown(value), _TYPE_RULES[kind])
    return Fault(where, shown(value), str(error["msg"]).removeprefix("Value error, "))


def located_faults(error: ValidationError, document: Any) -> list[tuple[Fault, list[str | int]]]:
    """Each fault with its path, without those that only echo another; the first of very many."""
    found = []
    for item in error.errors(include_url=False)[:MOST_FAULTS]:
        fault = _fault(item, document)
        if fault is not None:
            found.append((fault, locate(document, item["loc"])[0]))
    return found


def faults_of(error: ValidationError, document: Any) -> tuple[list[Fault], int]:
    """All faults of a document, one per place, and how many further ones were not looked at.

    Alternatives of one place are joined by 'or'.
    """
    by_path: dict[str, Fault] = {}
    for fault, _ in located_faults(error, document):
        earlier = by_path.get(fault.path)
        if earlier is not None and earlier.rule != fault.rule:
            rule = f"{earlier.rule}, or {fault.rule}"
            fault = Fault(fault.path, fault.value, rule, earlier.hint or fault.hint)
        by_path[fault.path] = fault
    return list(by_path.values()), max(0, error.error_count() - MOST_FAULTS)
