"""Components of other packages in a report: which code ran, where, and what is known of it."""

from __future__ import annotations

from normbench.catalog.fingerprints import Code
from normbench.report import words
from normbench.report.blocks import Column, Table, Value
from normbench.report.source import Source
from normbench.results.codes import code_by_component, codes_of, requirements
from normbench.results.load import Results


def code_table(source: Source) -> Table | None:
    """Which code of other packages each side of a comparison ran; None where there is none."""
    runs = source.results.runs
    rows = []
    for component, counts in code_by_component(runs).items():
        for code, count in counts.items():
            own = runs[[code in codes_of(text) for text in runs["code"]]]
            norms = list(dict.fromkeys(own["norm"].dropna().astype(str)))
            package = f"{code.distribution} {code.version}".strip()
            rows.append([Value(component), Value(package), Value(code.sources),
                         Value(", ".join(norms)), words.count(count)])  # fmt: skip
    if not rows:
        return None
    columns = [Column("component"), Column("package"), Column("hash of its modules"),
               Column("ran for"), Column("runs", number=True)]  # fmt: skip
    return Table("methods-packages", "Code of other packages: what each side ran", columns, rows)


def packages_to_install(results: Results) -> list[str]:
    """Packages with versions that runs like these need, as pip takes them."""
    found = code_by_component(results.runs)
    return requirements(code for counts in found.values() for code in counts)


def deviations(results: Results) -> list[str]:
    """What of other packages is not known, not here, or not the same for all runs."""
    found = []
    for component, counts in code_by_component(results.runs).items():
        if len(counts) > 1:
            said = words.listed([code.label for code in counts])
            found.append(f"Runs with the {component} ran different code ({said}); they are "
                         "different cells and never paired.")  # fmt: skip
    return found + [f"{text[0].upper()}{text[1:]}." for text in (*results.unrecorded,
                                                                 *results.absent)]  # fmt: skip


def labels(results: Results) -> list[str]:
    """What ran, a few words for each component of another package."""
    found = code_by_component(results.runs)
    return [f"{component}: {_several(list(counts))}" for component, counts in found.items()]


def _several(codes: list[Code]) -> str:
    return " and ".join(code.label for code in codes)
