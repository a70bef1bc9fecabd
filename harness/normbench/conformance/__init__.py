"""Conformance: what every component of the catalogue must do, for our tests and for yours.

``check_norm("mine")`` runs all checks on a norm that another package registered; :func:`examine`
tells what each of them finds, also of a norm that ``normbench check-norm`` is given by its target.
``check_packed("mine")`` compares its packed form with its plain one; a norm without one passes.
"""

from __future__ import annotations

from normbench.conformance.norms import CHECKS, ConformanceError, check_norm, examine
from normbench.conformance.packed import check_packed
from normbench.conformance.subject import of_catalogue, of_target

__all__ = [
    "CHECKS",
    "ConformanceError",
    "check_norm",
    "check_packed",
    "examine",
    "of_catalogue",
    "of_target",
]
