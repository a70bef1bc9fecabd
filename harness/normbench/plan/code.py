"""The code of the components of other packages that cells use, as part of their identity."""

from __future__ import annotations

from collections.abc import Iterator

from normbench.catalog import CHOICE_AXES, LIST_AXES, PROBES, Catalog
from normbench.catalog.fingerprints import (
    Code,
    Fingerprints,
    component,
    fingerprint,
    target_code,
)
from normbench.catalog.guard import packages_of
from normbench.catalog.target import packages_of_target
from normbench.catalog.weights import weights_digest, weights_file
from normbench.protocol.choice import Absent
from normbench.protocol.schema import Cell
from normbench.protocol.study import Study


def components(cell: Cell) -> Iterator[tuple[Catalog, str]]:
    """Every component that a cell uses."""
    for axis, catalog in CHOICE_AXES.items():
        yield catalog, getattr(cell, axis).name
    for axis, catalog in LIST_AXES.items():
        yield from ((catalog, one.name) for one in getattr(cell, axis))
    for probe in cell.probes:
        yield PROBES, probe


def targets(cell: Cell) -> Iterator[tuple[str, str]]:
    """The targets that a cell uses, each with the kind of its component."""
    for axis, catalog in CHOICE_AXES.items():
        text = getattr(getattr(cell, axis), "target", None)
        if text:
            yield catalog.kind, text


def weights(cell: Cell) -> str:
    """The file of trained weights that a cell's network starts from, as written; or nothing."""
    return str(getattr(cell.model, "weights", ""))


def packages_in(cell: Cell) -> set[str]:
    """The top-level packages that are not normbench's and that a cell uses code of."""
    own = packages_of(components(cell))
    return own.union(*(packages_of_target(text) for _, text in targets(cell)))


def code_of(cell: Cell, fingerprints: Fingerprints) -> tuple[Code, ...]:
    """The fingerprints of the components that a cell uses, in order; none for built-in ones."""
    if not fingerprints:
        return ()
    used = {component(catalog, name) for catalog, name in components(cell)}
    used |= {f"{kind} {text}" for kind, text in targets(cell)}
    used.add(_weights_key(weights(cell)))
    return tuple(sorted(fingerprints[key] for key in used & fingerprints.keys()))


def weights_code(text: str, root: str) -> Code:
    """A file of trained weights as it lies here now: its content is part of a run's identity."""
    path = weights_file(text, root)
    return Code(_weights_key(text), path.name, "", weights_digest(path))


def _weights_key(text: str) -> str:
    return f"weights {text}"


def fingerprints_of(study: Study) -> dict[str, Code]:
    """The code of all targets and components of other packages, as it lies here now.

    Nothing of a target is imported for it.
    """
    cells = {cell for experiment in study.experiments for cell in experiment.cells}
    used = {one for cell in cells for one in components(cell)}
    found = [fingerprint(catalog, name) for catalog, name in used]
    wanted = sorted({one for cell in cells for one in targets(cell)})
    found += [target_code(kind, text, study.root) for kind, text in wanted]
    files = sorted({weights(cell) for cell in cells} - {""})
    found += [weights_code(text, study.root) for text in files]
    return {code.component: code for code in found if code is not None}


def foreign_components(study: Study) -> list[str]:
    """The components of a stored study that are not built in, installed here or not."""
    used = {one for e in study.experiments for cell in e.cells for one in components(cell)}
    return sorted(component(catalog, name) for catalog, name in used if not catalog.built_in(name))


def absent_components(study: Study) -> list[str]:
    """The components that a stored study names and that are not installed here, as ``norm frn``."""
    cells = (cell for experiment in study.experiments for cell in experiment.cells)
    found = dict.fromkeys(
        component(catalog, name)
        for cell in cells
        for catalog, name in (*_absent(cell), *((PROBES, probe) for probe in cell.probes))
        if catalog is not PROBES or name not in PROBES
    )
    return list(found)


def _absent(cell: Cell) -> Iterator[tuple[Catalog, str]]:
    for axis, catalog in CHOICE_AXES.items():
        choice = getattr(cell, axis)
        if isinstance(choice, Absent):
            yield catalog, choice.name
    for axis, catalog in LIST_AXES.items():
        yield from ((catalog, c.name) for c in getattr(cell, axis) if isinstance(c, Absent))


def is_absent(cell: Cell) -> bool:
    """Whether a stored cell has a component that is not installed here."""
    return any(True for _ in _absent(cell)) or any(probe not in PROBES for probe in cell.probes)
