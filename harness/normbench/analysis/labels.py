"""Labels by which settings are told apart: short, and never equal for different ones.

The label of a setting has the values of those axes alone that differ among the settings shown
together, and of a component's parameters those that differ among its variants.
"""

from __future__ import annotations

from collections.abc import Sequence

from normbench.analysis.settings import Level, Setting

_NONE = Level("")


def values(setting: Setting) -> str:
    """A setting by its values alone, all of them in full."""
    return ", ".join(level.text for _, level in setting.axes)


def labels(settings: Sequence[Setting], most: int = 32) -> dict[str, str]:
    """By its text a label for each setting, about ``most`` letters, longer where they are equal."""
    known = list(dict.fromkeys(settings))
    tables = [dict(setting.axes) for setting in known]
    axes = list(dict.fromkeys(axis for table in tables for axis in table))
    columns = {axis: [table.get(axis, _NONE) for table in tables] for axis in axes}
    apart = {axis: own for axis, own in columns.items() if len(set(own)) > 1} or columns
    short = {axis: _components(own) for axis, own in apart.items()}
    found = [", ".join(filter(None, row)) for row in zip(*short.values(), strict=True)]
    if len(set(found)) < len(known):
        found = [values(setting) for setting in known]
    if len(set(found)) < len(known):  # such as two axes of which each may be the other's value
        found = [setting.text for setting in known]
    texts = [setting.text for setting in known]
    return dict(zip(texts, fitted(found, most), strict=True))


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


def _components(column: Sequence[Level]) -> list[str]:
    """The values of an axis; of a component's parameters those that differ among its variants."""
    found = []
    for level in column:
        variants = [dict(other.params) for other in column if other.name == level.name]
        differing = [(k, v) for k, v in level.params if any(own.get(k) != v for own in variants)]
        shown = ", ".join(f"{k}={v}" for k, v in differing)
        whole = level.name if level.params else level.text
        found.append(f"{level.name}({shown})" if shown else whole)
    texts = [level.text for level in column]
    return found if len(set(found)) == len(set(texts)) else texts
