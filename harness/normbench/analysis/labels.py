"""Labels by which settings are told apart: short, and never equal for different ones.

A setting is the text of the axes that vary, such as ``epochs=5, optimizer=adamw(momentum=0.1)``.
Its label has the values of those axes alone that differ among the settings shown together, and of a
component's parameters those that differ among its variants.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: A component with its parameters.
_COMPONENT = re.compile(r"([^()]*)\((.*)\)", re.DOTALL)


def split(text: str) -> list[str]:
    """A text at its commas, but for those in brackets or quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for place, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth = max(0, depth - 1)
        elif sign == "," and depth == 0 and text[place : place + 2] == ", ":
            parts.append(text[start:place])
            start = place + 2
    return [*parts, text[start:]]


def axes_of(setting: str) -> dict[str, str]:
    """The axes of a setting with their values; a part without an axis is its own value."""
    named = (part.partition("=") for part in split(setting))
    return {axis: value if sign else axis for axis, sign, value in named if axis}


def values(setting: str) -> str:
    """A setting by its values alone, all of them in full."""
    return ", ".join(axes_of(setting).values())


def labels(settings: Sequence[str], most: int = 32) -> dict[str, str]:
    """A label for each setting, about ``most`` letters long, longer where they would be equal."""
    known = list(dict.fromkeys(settings))
    tables = [axes_of(setting) for setting in known]
    axes = list(dict.fromkeys(axis for table in tables for axis in table))
    columns = {axis: [table.get(axis, "") for table in tables] for axis in axes}
    apart = {axis: own for axis, own in columns.items() if len(set(own)) > 1} or columns
    short = {axis: _components(own) for axis, own in apart.items()}
    found = [", ".join(filter(None, row)) for row in zip(*short.values(), strict=True)]
    if len(set(found)) < len(known):
        found = [values(setting) for setting in known]
    if len(set(found)) < len(known):  # such as two axes of which each may be the other's value
        found = known
    return dict(zip(known, fitted(found, most), strict=True))


def fitted(texts: Sequence[str], most: int) -> list[str]:
    """Texts of about ``most`` letters: those that are longer lose their middle.

    Different texts stay different, at the price of being longer.
    """
    wanted = len(set(texts))
    for length in range(most, max(map(len, texts), default=0)):
        cut = [_cut(text, length) for text in texts]
        if len(set(cut)) == wanted:
            return cut
    return list(texts)


def _cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    end = most // 2
    return f"{text[: most - 1 - end]}…{text[len(text) - end :]}"


def _components(column: Sequence[str]) -> list[str]:
    """The values of an axis; of a component's parameters those that differ among its variants."""
    parsed = [_parsed(value) for value in column]
    found = []
    for value, (name, own) in zip(column, parsed, strict=True):
        variants = [params for other, params in parsed if other == name]
        differing = [k for k in own if any(params.get(k) != own[k] for params in variants)]
        shown = ", ".join(f"{k}={own[k]}" for k in differing)
        found.append(f"{name}({shown})" if shown else name if own else value)
    return found if len(set(found)) == len(set(column)) else list(column)


def _parsed(value: str) -> tuple[str, dict[str, str]]:
    """A component's name and its parameters that are not defaults."""
    match = _COMPONENT.fullmatch(value)
    if match is None or not match[1]:
        return value, {}
    params = [part.partition("=") for part in split(match[2])]
    if not all(sign for _, sign, _ in params):
        return value, {}
    return match[1], {key: own for key, _, own in params}
