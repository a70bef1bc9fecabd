"""Conformance: what every component of the catalogue must do, for our tests and for yours.

``check_norm("mine")`` runs all checks on a norm that another package registered.
"""

from __future__ import annotations

from normbench.conformance.norms import CHECKS, ConformanceError, check_norm

__all__ = ["CHECKS", "ConformanceError", "check_norm"]
