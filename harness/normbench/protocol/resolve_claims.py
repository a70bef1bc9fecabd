"""Finding the cells that a claim speaks of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from normbench.catalog import nearest, probes_that_give
from normbench.errors import Fault
from normbench.protocol.claims import ITSELF, Claim, ClaimEndpoint, Family, probe_parts
from normbench.protocol.faults import shown
from normbench.protocol.matching import CellIndex
from normbench.protocol.resolved import (
    Hypothesis,
    ResolvedClaim,
    ResolvedFamily,
    given_axes,
    side_axes,
    side_label,
)
from normbench.protocol.schema import Cell
from normbench.protocol.windows import Windows

DEFAULT_FAMILY = "all-claims"


class Cells(Protocol):
    """What resolving needs of an experiment."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def cells(self) -> tuple[Cell, ...]: ...  # noqa: D102


class _MisfitError(Exception):
    def __init__(self, key: str, value: str, rule: str, hint: str = "") -> None:
        self.fault = (key, value, rule, hint)
        super().__init__(rule)


def _experiment(claim: Claim, experiments: Sequence[Cells]) -> Cells:
    names = [e.name for e in experiments]
    if claim.experiment is None:
        if len(experiments) == 1:
            return experiments[0]
        raise _MisfitError("experiment", "", "with several experiments a claim names one",
                     f"one of {', '.join(names)}")  # fmt: skip
    if claim.experiment not in names:
        close = nearest(claim.experiment, names)
        hint = f"did you mean {close!r}?" if close else f"one of {', '.join(names)}"
        raise _MisfitError(
            "experiment", shown(claim.experiment), "there is no such experiment", hint
        )
    return experiments[names.index(claim.experiment)]


def _one_cell(found: list[int], key: str, label: str, size: int, cells: Sequence[Cell]) -> int:
    if len(found) == 1:
        return found[0]
    where = f"{label} at batch size {size}"
    if not found:
        known = ", ".join(dict.fromkeys(c.norm.label for c in cells))
        raise _MisfitError(key, where, "no cell of the experiment fits this side",
                     f"norms there: {known}")  # fmt: skip
    differing = [
        axis
        for axis in Cell.model_fields
        if len({repr(getattr(cells[i], axis)) for i in found}) > 1
    ]
    raise _MisfitError(key, where, f"{len(found)} cells fit this side; a claim needs exactly one",
                 f"set {', '.join(differing)} in the side or in where")  # fmt: skip


def _check_probe(claim: Claim, cells: Sequence[Cell]) -> None:
    """Refuse a claim about a quantity that one of its cells does not record."""
    metric = claim.endpoint.metric
    parts = probe_parts(metric)
    if parts is None:
        return
    for key, side in (("a", claim.a), ("b", claim.b)):
        if side is not None and side.evaluation != "running":
            raise _MisfitError(f"{key}.evaluation", shown(side.evaluation),
                         "a probe does not depend on how batch norm is evaluated",
                         "leave evaluation out")  # fmt: skip
    giving = probes_that_give(parts[0])
    for cell in cells:
        if not set(giving) & set(cell.probes):
            where = f"{cell.norm.label} at batch size {cell.batch_size}"
            listed = " or ".join(f'probes = ["{name}"]' for name in giving)
            raise _MisfitError("endpoint.metric", shown(metric),
                         f"the cell {where} does not record {parts[0]}",
                         f"set {listed} in the experiment or in [defaults]")  # fmt: skip


def _with_window(claim: Claim, cells: Sequence[Cell], at: str, windows: Windows) -> ClaimEndpoint:
    """The claim's endpoint with the window that its runs allow."""
    end = claim.endpoint
    if end.kind not in ("final", "time"):  # the others average nothing
        return end
    declared = end.window if "window" in end.model_fields_set else None
    window = windows.found(declared, cells, f"{at}.endpoint.window", f"claim {claim.id!r}")
    return end.model_copy(update={"window": window})


def _resolve(
    claim: Claim,
    raw: Mapping[str, Any],
    experiments: Sequence[Cells],
    indices: Mapping[str, CellIndex],
    at: str,
    windows: Windows,
) -> ResolvedClaim:
    experiment = _experiment(claim, experiments)
    cells, index = experiment.cells, indices[experiment.name]
    where = given_axes(claim.where, raw.get("where"))
    sides = {key: given_axes(getattr(claim, key), raw.get(key)) for key in ("a", "b")}
    pool = index.fitting(where)
    if not pool:
        raise _MisfitError("where", shown(raw.get("where")), "no cell of the experiment fits")
    fixed = {key: axes.get("batch_size") for key, axes in sides.items()}
    if claim.over is not None:
        sizes = tuple(sorted(claim.over.batch_size))
    elif fixed["a"] is not None:
        sizes = (int(fixed["a"]),)
    else:
        sizes = tuple(sorted(index.by_batch_size(pool & index.fitting(sides["a"]))))
    found: dict[str, list[int]] = {"a": [], "b": []}
    for key, axes in sides.items():
        if key == "b" and claim.b is None:
            continue
        label = side_label(side_axes(axes), "running")
        fitting = index.by_batch_size(pool & index.fitting(axes))
        for size in sizes or (0,):
            at_size = size if fixed[key] is None else int(fixed[key] or 0)
            fits = fitting.get(at_size, [])
            found[key].append(_one_cell(fits, key, label, at_size, cells))
    own = [cells[i] for i in (*found["a"], *found["b"])]
    _check_probe(claim, own)
    a_evaluation = claim.a.evaluation
    b_evaluation = claim.b.evaluation if claim.b is not None else a_evaluation
    set_by = {key: side_axes(axes) for key, axes in sides.items()}
    return ResolvedClaim(
        id=claim.id,
        family=claim.family or DEFAULT_FAMILY,
        kind=claim.kind,
        experiment=experiment.name,
        a_label=side_label(set_by["a"], a_evaluation),
        b_label=side_label(set_by["b"], b_evaluation) if claim.b is not None else ITSELF,
        a_axes=set_by["a"],
        b_axes=set_by["b"],
        a_evaluation=a_evaluation,
        b_evaluation=b_evaluation,
        endpoint=_with_window(claim, own, at, windows),
        margin=claim.margin,
        expect=claim.expect,
        chapter=claim.chapter,
        text=claim.text,
        hypotheses=_hypotheses(claim, sizes, found["a"], found["b"]),
    )


def _hypotheses(
    claim: Claim, sizes: tuple[int, ...], a: list[int], b: list[int]
) -> tuple[Hypothesis, ...]:
    if claim.reference is not None:
        if claim.reference.batch_size not in sizes or len(sizes) < 2:
            raise _MisfitError("reference", str(claim.reference.batch_size),
                         "the reference must be one of at least two batch sizes of the claim",
                         f"one of {', '.join(map(str, sizes))}")  # fmt: skip
        base = a[sizes.index(claim.reference.batch_size)]
        others = [(s, i) for s, i in zip(sizes, a, strict=True) if i != base]
        return (
            Hypothesis(
                name=claim.id,
                a=tuple(i for _, i in others),
                b=tuple(base for _ in others),
                batch_sizes=tuple(s for s, _ in others),
            ),
        )
    if claim.kind == "interaction" and len(sizes) < 2:
        raise _MisfitError("over", str(sizes), "an interaction needs at least two batch sizes")
    if claim.kind in ("interaction", "equivalence"):
        return (Hypothesis(name=claim.id, a=tuple(a), b=tuple(b), batch_sizes=sizes),)
    return tuple(
        Hypothesis(
            name=claim.id if len(sizes) == 1 else f"{claim.id}@{size}",
            a=(i,), b=(j,), batch_sizes=(size,),
        )
        for size, i, j in zip(sizes, a, b, strict=True)
    )  # fmt: skip


def resolve_claims(
    claims: Sequence[Claim],
    families: Sequence[Family],
    raw: Sequence[Mapping[str, Any]],
    experiments: Sequence[Cells],
    windows: Windows,
) -> tuple[tuple[ResolvedClaim, ...], tuple[ResolvedFamily, ...], list[Fault]]:
    """All claims with their cells, the families with their methods, and the faults found.

    ``raw`` holds the claims' tables as they stand in the file, where a component's bare name
    can be told from a table. What is wrong with windows goes into ``windows``.
    """
    faults: list[Fault] = []
    resolved: list[ResolvedClaim] = []
    declared = {family.id: family for family in families}
    if len(declared) < len(families):
        faults.append(Fault("family", "", "families must have different ids"))
    seen: set[str] = set()
    indices = {one.name: CellIndex(one.cells) for one in experiments}
    for index, (claim, table) in enumerate(zip(claims, raw, strict=True)):
        at = f"claim[{index}]"
        if claim.id in seen:
            faults.append(Fault(f"{at}.id", shown(claim.id), "claims must have different ids"))
        seen.add(claim.id)
        if claim.family is not None and claim.family not in declared:
            close = nearest(claim.family, declared)
            hint = f"did you mean {close!r}?" if close else "declare it with [[family]]"
            rule = "there is no such family"
            faults.append(Fault(f"{at}.family", shown(claim.family), rule, hint))
        try:
            resolved.append(_resolve(claim, table, experiments, indices, at, windows))
        except _MisfitError as error:
            key, value, rule, hint = error.fault
            faults.append(Fault(f"{at}.{key}", value, rule, hint))
    methods = []
    for family in dict.fromkeys(claim.family for claim in resolved):
        members = [claim for claim in resolved if claim.family == family]
        one = declared.get(family)
        needs_holm = any(c.kind == "equivalence" or c.endpoint.kind == "diverged" for c in members)
        if one is not None and one.method == "max-t" and needs_holm:
            index = list(declared).index(family)
            rule = "a family with equivalence or divergence claims is corrected by holm"
            faults.append(Fault(f"family[{index}].method", "'max-t'", rule, 'method = "holm"'))
        chosen = one.method if one is not None and one.method else None
        methods.append(
            ResolvedFamily(id=family, method=chosen or ("holm" if needs_holm else "max-t"))
        )
    return tuple(resolved), tuple(methods), faults
