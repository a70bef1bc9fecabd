"""Code that was edited after it was planned: refused before it is imported."""

from __future__ import annotations

from normbench.catalog.fingerprints import imported, imported_target, target_code
from normbench.catalog.target import forget_edited, refuse_unseen, use_root
from normbench.catalog.target_name import parsed
from normbench.errors import WorkError
from normbench.plan.code import components, targets, weights, weights_code
from normbench.plan.spec import RunSpec


def check_code(run: RunSpec) -> None:
    """Refuse other code than what was planned: edited while a sweep ran.

    What is asked of a run's targets is asked before any of them is imported, and they are found
    beside its protocol from now on. Raises :class:`WorkError`.
    """
    use_root(run.root)
    known = run.fingerprints
    wanted = set(targets(run.cell))
    if not known and not wanted:
        return
    present = {}
    for kind, text in sorted(wanted):
        found_by = target_code if parsed(text).is_file else imported_target
        code = present[f"{kind} {text}"] = found_by(kind, text, run.root)
        if code == known.get(code.component):
            forget_edited(text)
    if weights(run.cell):
        code = weights_code(weights(run.cell), run.root)
        present[code.component] = code
    found = (imported(catalog, name) for catalog, name in components(run.cell))
    present |= {code.component: code for code in found if code is not None}
    for key in {**known, **{f"{kind} {text}": None for kind, text in wanted}}:
        planned, here = known.get(key), present.get(key)
        if planned is None or planned != here:
            said = planned.label if planned else "none"
            now = here.label if here else "none"
            raise WorkError(
                f"the code of the {key} changed while this was running: planned was {said}, "
                f"there is now {now}; run the same command again"
            )


def check_imported(run: RunSpec) -> None:
    """Refuse what a run's targets imported while they ran, if its identity does not cover it.

    Raises :class:`~normbench.errors.UsageError`.
    """
    for _, text in targets(run.cell):
        refuse_unseen(text)
