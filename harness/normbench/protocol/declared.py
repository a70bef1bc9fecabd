"""What a protocol declares, compared with what it declared before: in words, and claim by claim.

Protocols are taken as plain data, as they are stored: what was declared can be compared too where
one of its components is no longer installed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from normbench.catalog import CHOICE_AXES
from normbench.protocol.schema import Cell

Plain = dict[str, Any]
#: Of a claim what decides no verdict, or is said by its labels too.
_QUIET = {"text", "chapter", "expect", "id", "hypotheses", "family", "a_axes", "b_axes"}
_SEEDS = "seeds added: "
_MOST = 160


def adds_seeds(line: str) -> bool:
    """Whether a line of :func:`claim_changes` says that seeds were added."""
    return line.startswith(_SEEDS)


def study_changes(old: Plain, new: Plain) -> list[str]:
    """What differs between two protocols, apart from their texts, a line each."""
    lines = _value("alpha", old["alpha"], new["alpha"])
    before, after = _named(old["experiments"]), _named(new["experiments"])
    lines += _members("experiment", before, after)
    for name in [name for name in before if name in after]:
        lines += [f"{name}: {line}" for line in _series_changes(before[name], after[name])]
    lines += _basis_changes(old, new, None)
    methods = [{f["id"]: f["method"] for f in study["families"]} for study in (old, new)]
    for family in methods[0].keys() & methods[1].keys():
        lines += _value(f"family {family}: correction", methods[0][family], methods[1][family])
    claims, present = _named(old["claims"], "id"), _named(new["claims"], "id")
    lines += _members("claim", claims, present)
    for name in [name for name in claims if name in present]:
        parts = (_declaration(claims[name]), _declaration(present[name]))
        lines += [f"claim {name}: {line}" for line in _values(*parts)]
    return lines


def claim_changes(old: Plain, new: Plain) -> dict[str, list[str]]:
    """For each claim of ``new`` what its verdict rests on and is not as in ``old``.

    That is its endpoint, the seeds, all axes of both sides and their tuning, the error rate, and
    the same of the other claims of its family: they are corrected together.
    """
    own = {}
    before, after = _named(old["claims"], "id"), _named(new["claims"], "id")
    for name, claim in after.items():
        if name not in before:
            own[name] = ["added"]
        else:
            own[name] = _claim_changes(old, before[name], new, claim)
    members = [_by_family(claims) for claims in (before, after)]
    found = {}
    for name, claim in after.items():
        family = claim["family"]
        others = [n for n in members[1][family] if own[n] and n != name]
        others += [n for n in members[0].get(family, ()) if n not in after]
        lines = own[name] + ([f"others of its family: {listed(others)}"] if others else [])
        if lines:
            found[name] = lines
    return found


def _by_family(claims: dict[str, Plain]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, claim in claims.items():
        found.setdefault(claim["family"], []).append(name)
    return found


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in a row, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def _claim_changes(old: Plain, was: Plain, new: Plain, now: Plain) -> list[str]:
    lines = _value("alpha", old["alpha"], new["alpha"])
    methods = [{f["id"]: f["method"] for f in study["families"]} for study in (old, new)]
    lines += _value("correction", methods[0].get(was["family"]), methods[1].get(now["family"]))
    lines += _values(_declaration(was), _declaration(now))
    series = [_named(s["experiments"]).get(c["experiment"]) for s, c in ((old, was), (new, now))]
    if series[0] is None or series[1] is None:
        return lines or ["its experiment is not what it was"]
    lines += _seed_changes(series[0]["seeds"], series[1]["seeds"])
    lines += _value("tuning", series[0]["tune"], series[1]["tune"])
    measured = str(now["endpoint"]["metric"]).startswith("probe:")
    for side in ("a", "b"):
        sides = (_side(series[0], was, side), _side(series[1], now, side))
        lines += _cell_changes(*sides, f" of {side}", probes=measured)
        lines += _basis_changes(old, new, _used(sides[1], probes=measured))
    if now["endpoint"].get("threshold") == "pooled":
        pooled = _cell_changes(series[0]["cells"], series[1]["cells"], "", probes=False)
        lines += [f"what the threshold is pooled from: {line}" for line in pooled]
    return list(dict.fromkeys(lines))


def code_key(component: str) -> str:
    """What the code of a component, such as ``norm frn``, is called in a basis."""
    return f"code of the {component}"


def data_key(dataset: Plain) -> str:
    """What the content of a data set, with its parameters, is called in a basis."""
    return f"content of the data set {json.dumps(dataset, sort_keys=True)}"


def _used(cells: Sequence[Plain], *, probes: bool) -> set[str]:
    """What cells rest on besides their axes, as a basis calls it."""
    found = set()
    for cell in cells:
        for axis, catalog in CHOICE_AXES.items():
            if isinstance(cell.get(axis), dict):
                used = cell[axis].get("target") or cell[axis]["name"]
                found.add(code_key(f"{catalog.kind} {used}"))
        found.add(data_key(cell["dataset"]))
        found |= {
            code_key(f"probe {name}") for name in (cell.get("probes") or () if probes else ())
        }
    return found


def _basis_changes(old: Plain, new: Plain, used: set[str] | None) -> list[str]:
    """Code and data that are others than before; of protocols without a basis nothing is known."""
    if "basis" not in old or "basis" not in new:
        return []
    before, after = old["basis"], new["basis"]
    keys = sorted(key for key in before.keys() & after.keys() if used is None or key in used)
    return [line for key in keys for line in _value(key, before[key], after[key])]


def _side(series: Plain, claim: Plain, side: str) -> list[Plain]:
    return [series["cells"][i] for h in claim["hypotheses"] for i in h[side]]


def _declaration(claim: Plain) -> Plain:
    """What a claim says itself, as one level of values."""
    values = {key: value for key, value in claim.items() if key not in _QUIET | {"endpoint"}}
    sizes = [h["batch_sizes"] for h in claim["hypotheses"]]
    ends = {f"endpoint {key}": value for key, value in claim["endpoint"].items()}
    return values | ends | {"batch sizes": sizes, "family": claim["family"]}


def _series_changes(old: Plain, new: Plain) -> list[str]:
    lines = _seed_changes(old["seeds"], new["seeds"])
    for key in ("metric", "thresholds", "window", "reference"):
        lines += _value(key, old[key], new[key])
    lines += _value("tuning", old["tune"], new["tune"])
    return lines + _cell_changes(old["cells"], new["cells"], "", probes=True)


def _seed_changes(old: Sequence[int], new: Sequence[int]) -> list[str]:
    added, gone = sorted({*new} - {*old}), sorted({*old} - {*new})
    lines = [_SEEDS + ranges(added)] if added else []
    return lines + ([f"seeds left out: {ranges(gone)}"] if gone else [])


def ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers as spans: ``0–5, 8``."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return _short(", ".join(str(a) if a == b else f"{a}–{b}" for a, b in spans))


def _cell_changes(
    old: Sequence[Plain], new: Sequence[Plain], of: str, *, probes: bool
) -> list[str]:
    """Axis by axis, which values are others; or that the same ones go together otherwise."""
    if old == new:
        return []
    axes = dict.fromkeys(axis for cell in (*new, *old) for axis in cell)
    lines, same = [], True
    for axis in axes:
        if axis == "probes" and not probes:
            continue
        kept = [[_filled(cell, axis) for cell in cells] for cells in (old, new)]
        if kept[0] == kept[1]:
            continue
        same &= sorted(map(_key, kept[0])) == sorted(map(_key, kept[1]))
        values = [{_key(value): value for value in side} for side in kept]
        gone = [v for k, v in values[0].items() if k not in values[1]]
        come = [v for k, v in values[1].items() if k not in values[0]]
        if gone and come:
            lines.append(f"{axis}{of}: {_words(gone)} → {_words(come)}")
        elif gone or come:
            lines.append(f"{axis}{of}: {_words(gone or come)} {'left out' if gone else 'added'}")
    if not lines and (not same or _whole(old, probes) != _whole(new, probes)):
        lines.append(f"other combinations of the same values{of}")
    return lines


def _whole(cells: Sequence[Plain], probes: bool) -> list[str]:
    axes = {a: None for cell in cells for a in cell if probes or a != "probes"}
    every = {*axes, *Cell.model_fields} - (set() if probes else {"probes"})
    return sorted(_key({axis: _filled(cell, axis) for axis in every}) for cell in cells)


def _filled(cell: Plain, axis: str) -> Any:
    """The value of an axis; of one that there was not yet, today's default."""
    if axis in cell or axis not in Cell.model_fields:
        return cell.get(axis)
    default = Cell.model_fields[axis].get_default()
    return list(default) if isinstance(default, tuple) else default


def _named(items: Iterable[Plain], key: str = "name") -> dict[str, Plain]:
    return {str(item[key]): item for item in items}


def _members(what: str, old: Plain, new: Plain) -> list[str]:
    lines = [f"{what} {name} left out" for name in old if name not in new]
    return lines + [f"{what} {name} added" for name in new if name not in old]


def _values(old: Plain, new: Plain) -> list[str]:
    return [line for key in {**old, **new} for line in _value(key, old.get(key), new.get(key))]


def _value(what: str, old: Any, new: Any) -> list[str]:
    return [] if _key(old) == _key(new) else [f"{what}: {_word(old)} → {_word(new)}"]


def _key(value: Any) -> str:
    """A text that is equal for equal values: tuples and lists, 1 and 1.0 alike."""
    if isinstance(value, dict):
        return str(sorted((key, _key(part)) for key, part in value.items()))
    if isinstance(value, list | tuple):
        return str([_key(part) for part in value])
    return repr(float(value)) if type(value) is int and abs(value) < 2**53 else repr(value)


def _words(values: Sequence[Any]) -> str:
    return _short(", ".join(map(_word, values)))


def _word(value: Any) -> str:
    """A value as a person writes it; a component by its name, with what it sets."""
    if value is None:
        return "none"
    if isinstance(value, dict):
        rest = ", ".join(f"{key}={_word(part)}" for key, part in value.items() if key != "name")
        name = str(value.get("name", ""))
        return _short(f"{name}({rest})" if rest else name)
    if isinstance(value, list | tuple):
        return _short(" ".join(map(_word, value)) or "none")
    return _short(f"{value:g}" if isinstance(value, float) else str(value))


def _short(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"
