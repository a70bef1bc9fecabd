"""normbench: which normalization should this network use, at this batch size, and how sure are we?

``normbench.load("results/full")`` gives the result tables as pandas frames and
``normbench.analyse("results/full")`` the tables of estimates, comparisons and verdicts; the
command ``normbench`` runs protocols and writes reports.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from normbench.results.load import Results, load
    from normbench.workflow import analyse

__all__ = ["Results", "__version__", "analyse", "load"]

try:
    __version__ = version("normbench")
except PackageNotFoundError:  # running from a source tree that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    # pandas and pyarrow take most of a second to import: only who loads results pays for it
    if name in ("Results", "load"):
        from normbench.results import load as module

        return getattr(module, name)
    if name == "analyse":
        from normbench.workflow import analyse

        return analyse
    raise AttributeError(f"module 'normbench' has no attribute {name!r}")
