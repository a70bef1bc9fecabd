"""Folders of older versions: read as they are, and never rewritten for it.

What each version changed in ``protocol.json`` and in the tables' columns:

1. the first.
2. columns ``probe_seconds``, ``probe_values`` and ``label_variance`` of ``runs``, table ``probes``.
3. the code of components of other packages: ``code`` in ``protocol.json`` and in ``runs``. Before,
   a run was identified without it, so that edited code had the identity of the code before.

Columns that a table lacks are read as empty (see :mod:`normbench.results.tables`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from normbench.catalog.fingerprints import Code

#: The first version whose runs' identity covers the code of components of other packages.
CODE_RECORDED = 3


@dataclass(frozen=True)
class Document:
    """What ``protocol.json`` holds, of whatever version."""

    version: int
    study: Mapping[str, Any]
    code: dict[str, Code]

    @property
    def records_code(self) -> bool:
        """Whether its runs' identity covers the code of components of other packages."""
        return self.version >= CODE_RECORDED


def migrated(content: Mapping[str, Any], version: int) -> Document:
    """The content of a ``protocol.json`` of this or an older version.

    Raises ``KeyError``, ``TypeError`` or ``ValueError`` where something is missing in it.
    """
    found = [Code(**code) for code in content["code"]] if version >= CODE_RECORDED else []
    return Document(version, content["study"], {code.component: code for code in found})
