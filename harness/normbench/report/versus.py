"""The page that compares two result sets, as plain data: answer, cells, differences, methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from normbench.analysis.boundary import Boundary
from normbench.analysis.export import to_csv
from normbench.analysis.judging import direction
from normbench.analysis.labels import fitted
from normbench.analysis.versus import Versus
from normbench.figures.changes import change_forest
from normbench.figures.render import to_svg
from normbench.report import words
from normbench.report.blocks import Block, CodeBlock, Figure, Items, Page, Section, Text
from normbench.report.boundary import missing
from normbench.report.phrases import norm_name, p_value
from normbench.report.sections import packages
from normbench.report.versus_tables import (
    SINGLE,
    cell_table,
    change_table,
    effect,
    endpoint,
    said,
    step_rows,
    unmatched_table,
)
from normbench.results.load import Results

#: The most comparisons that the figure draws: the tables hold them all.
MOST_DRAWN = 40


def names_of(a: Path, b: Path) -> tuple[str, str]:
    """Short names of two folders; the folders above are added where the last ones are equal."""
    left, right = a.resolve().parts, b.resolve().parts
    for length in range(1, max(len(left), len(right))):
        names = "/".join(left[-length:]), "/".join(right[-length:])
        if names[0] != names[1]:
            return names
    return a.resolve().name, b.resolve().name


def versus_page(a: Results, b: Results, found: Versus, boundary: Boundary | None = None) -> Page:
    """The page of a comparison; positive effects mean that B is better.

    A part that cannot be made is said in its place; ``boundary`` knows those that are bugs.
    """
    bounds = boundary or Boundary()
    names = names_of(a.folder, b.folder)

    def part(what: str, make: Callable[[], Sequence[Block]]) -> Sequence[Block]:
        return bounds.attempt(what, make, lambda why: [missing(what, why)])

    answer = bounds.attempt(
        "the answer",
        lambda: sentences(found),
        lambda why: [f"The answer could not be made: {why}."],
    )
    sections = [
        Section("answer", "What changed", [
            Text(answer, lead=True), *part("the figure of differences", lambda: _figure(found)),
        ]),
        Section("differences", "Differences",
                part("the table of differences", lambda: [change_table(found)])),
        Section("cells", "Cells", part("the table of cells", lambda: _cells(found))),
    ]  # fmt: skip
    if not found.tables["steps"].empty:
        steps = part("the table of steps", lambda: _steps(found))
        sections.append(Section("steps", "Seconds of a step", steps))
    methods = part("the methods", lambda: _methods(a, b, names, found))
    sections.append(Section("methods", "Methods", methods))
    title = f"{names[0]} against {names[1]}"
    subtitle = f"A: {a.study.title}. B: {b.study.title}. Positive differences: B is better."
    lines = (f"{title}: {_matched(found)}", *answer)
    return Page(title, subtitle, sections, lines[:5])


def sentences(found: Versus) -> list[str]:
    """The answer: how many cells changed, in which direction, and the clearest changes."""
    changes = found.tables["changes"]
    counts = found.counts()
    total = len(found.tables["cells"])
    described = counts["described only"]
    if described == total:
        why = "; ".join(dict.fromkeys(r for r in changes["refusal"] if r))
        return [
            f"Described only, without tests: {why}. Differences may come from the machine or "
            "its versions as well as from what was changed.",
            *_largest(found, changes, "Largest differences"),
        ]
    parts = [
        (sum(n for word, n in counts.items() if direction(word) == "better"), "better in B"),
        (sum(n for word, n in counts.items() if direction(word) == "worse"), "worse in B"),
        (counts["mixed"], "better in one endpoint and worse in another"),
        (counts["equal"], "equal within the declared margin"),
        (counts["no change shown"], "without a change shown"),
        (counts["identical"], "identical in every run"),
        (described, "described only"),
        (counts["not decidable"] + counts["not compared"], "not decided"),
    ]
    said = ", ".join(f"{n} {words}" for n, words in parts if n)
    first = f"Of {total} matched cells, {said}." if total != 1 else f"One matched cell: {said}."
    changed = changes[changes["verdict"].map(direction) != ""]
    if changed.empty:
        least = "No difference is beyond noise; that is no proof that there is none."
        return [first, least] if counts["identical"] < total else [first]
    return [first, *_largest(found, changed, "")]


def _largest(found: Versus, rows: pd.DataFrame, prefix: str, most: int = 3) -> list[str]:
    """The clearest rows in words: by adjusted p, or by their size where there is none."""
    rows = rows[rows["estimate"].notna()]
    keyed = rows.assign(size=-rows["estimate"].abs())
    ordered = keyed.sort_values(["adjusted_p", "size"], kind="stable").head(most)
    return [_sentence(found, row, prefix) for row in ordered.to_dict("records")]


def _sentence(found: Versus, row: dict[Any, Any], prefix: str) -> str:
    name = f"{norm_name(row['norm'])} at batch size {row['batch_size']}"
    where = ", ".join(filter(None, [row["experiment"], said(found, row)]))
    better = row["estimate"] > 0
    if row["endpoint"] == "time":
        word = "earlier" if better else "later"
    else:
        word = "lower" if better else "higher"
    amount = effect(row, abs(row["estimate"]), signed=False)
    text = f"{name} ({where}): {endpoint(row)} {amount} {word} in B{_evidence(row)}."
    return f"{prefix}: {text}" if prefix else text[:1].upper() + text[1:]


def _evidence(row: dict[Any, Any]) -> str:
    """Interval, seeds and adjusted p, where it was tested; the interval has the amount's sign."""
    if row["adjusted_p"] != row["adjusted_p"]:
        return f" ({row['n']} seeds)"
    low, high = row["low"], row["high"]
    if row["estimate"] < 0:
        low, high = -high, -low
    ends = " to ".join(effect(row, end, unit=False, signed=False) for end in (low, high))
    level = f"{100 * row['level']:g} % interval"
    return f" ({level} {ends}, {row['n']} seeds, adjusted {p_value(row['adjusted_p'])})"


def _matched(found: Versus) -> str:
    cells, alone = found.tables["cells"], found.tables["unmatched"]
    parts = [f"{len(cells)} cells matched"]
    for side in ("A", "B"):
        count = int((alone["side"] == side).sum())
        parts += [f"{count} only in {side}"] if count else []
    return ", ".join(parts)


def _figure(found: Versus) -> list[Block]:
    rows = found.tables["changes"]
    rows = rows[rows["estimate"].notna() & (rows["verdict"] != "identical")]
    if rows.empty:
        return []
    keyed = rows.assign(size=-rows["estimate"].abs())
    chosen = keyed.sort_values(["adjusted_p", "size"], kind="stable").head(MOST_DRAWN).index
    drawn = rows.loc[sorted(chosen)]
    records: list[dict[Any, Any]] = drawn.to_dict("records")
    several = rows["experiment"].nunique() > 1
    drawn = drawn.assign(
        label=fitted([_label(found, row, several) for row in records], 60),
        unit=[SINGLE[_kind(row)][0] for row in records],
        factor=[SINGLE[_kind(row)][1] for row in records],
    ).sort_values("unit", kind="stable", key=lambda unit: unit == "epochs")
    left = f" The {MOST_DRAWN} clearest of {len(rows)} are drawn." if len(rows) > MOST_DRAWN else ""
    alt = f"Forest plot of {len(drawn)} differences between A and B. {sentences(found)[0]}"
    columns = ["label", "unit", "estimate", "low", "high", "simultaneous_low",
               "simultaneous_high", "adjusted_p", "n", "verdict"]  # fmt: skip
    return [
        Figure(
            "forest",
            to_svg(change_forest(drawn), alt),
            "Mean difference over the seeds that both sides have; to the right of the line B is "
            "better. Filled points changed beyond noise. Thick bars: the interval of this "
            "comparison alone; thin ones hold for all comparisons at once." + left,
            sentences(found)[0],
            alt,
            to_csv(drawn[columns]),
        )
    ]


def _kind(row: dict[Any, Any]) -> str:
    return "time" if row["endpoint"] == "time" else str(row["metric"])


def _label(found: Versus, row: dict[Any, Any], several: bool) -> str:
    where = f"{row['experiment']}: " if several else ""
    setting = f", {said(found, row)}" if row["setting"] else ""
    time = f", to {row['threshold']:g}" if row["endpoint"] == "time" else ""
    return f"{where}{row['norm']}, {row['batch_size']}{setting}{time}"


def _cells(found: Versus) -> list[Block]:
    blocks: list[Block] = [Text([f"{_matched(found)}."]), cell_table(found)]
    if not found.tables["unmatched"].empty:
        blocks.append(unmatched_table(found))
    return blocks


def _steps(found: Versus) -> list[Block]:
    note = (
        "Each side was timed by itself, not in turns with the other. The ratio therefore holds "
        "what the machine did meanwhile, and there is no p-value; its interval is that of the "
        "repetitions of these two passes."
    )
    return [Text([note]), step_rows(found)]


def _methods(a: Results, b: Results, names: tuple[str, str], found: Versus) -> list[Block]:
    level = f"{found.alpha:g}"
    method = (
        "step-down max-T: one sign per seed for all comparisons"
        if found.method == "max-t" else "Holm"
    )  # fmt: skip
    paragraphs = [
        "Cells are matched by their axes: equal ones first, then those that share data set, norm, "
        "batch size and what their experiments vary. The unit is the seed: a difference is A's "
        "value minus B's for one seed, so positive ones mean that B has less error, or reaches "
        "the threshold earlier. Diverged runs count with the error of chance, or the whole budget.",
        f"Family of changes: every comparison below that has any difference, {found.tested} in "
        f"all, by exact paired sign-flip tests, corrected by {method}; the chance that any of "
        f"them is wrongly called a change is at most {level}. Intervals are the inverted tests.",
        f"Family of equalities: {found.equal_tested} comparisons with a margin that a protocol "
        f"declares, by two one-sided tests, corrected by Holm, at {level}. Without a declared "
        "margin nothing is called equal: that no change is shown is no evidence of equality.",
        "Runs are paired only within one machine, device and set of versions. Where A and B come "
        "from different ones, their differences are confounded with the machine: they are "
        "described, without p-values.",
        *(f"{words.capital(str(note))}." for note in found.notes),
    ]
    facts = [
        (side, "; ".join(_facts(results)))
        for side, results in ((f"A, {names[0]}", a), (f"B, {names[1]}", b))
    ]
    return [
        Text(paragraphs),
        Items(facts, "What was compared"),
        CodeBlock(f"normbench report {a.folder} {b.folder}", "To make this page again"),
    ]


def _facts(results: Results) -> list[str]:
    """Where results come from, in a few words."""
    status = results.runs["status"].value_counts()
    parts = [results.study.title, ", ".join(f"{n:,} {word}" for word, n in status.items())]
    invocations = results.provenance["invocations"]
    if invocations:
        last = invocations[-1]
        commit = str(last.get("git_commit") or "")[:12]
        versions = last.get("versions")
        version = versions.get("normbench") if isinstance(versions, dict) else None
        parts += [f"computed {last.get('ended') or last.get('started')}"]
        parts += [f"normbench {version}" if version else "", f"commit {commit}" if commit else ""]
        parts += [str(last.get("cpu") or "")]
    parts += [*packages.labels(results), results.older]
    return [part for part in parts if part]
