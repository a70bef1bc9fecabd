"""normbench: which normalization should this network use, at this batch size, and how sure are we?

``normbench.load("results/full")`` gives the result tables as pandas frames and
``normbench.analyse("results/full")`` the tables of estimates, comparisons and verdicts; the
command ``normbench`` runs protocols and writes reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from normbench.results.load import Results, load
    from normbench.workflow import analyse

__all__ = ["Results", "__version__", "analyse", "load"]


def __dir__() -> list[str]:
    # the public names, most of which are imported only when they are asked for
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    # pandas and pyarrow take most of a second to import, and package metadata a tenth of one:
    # only who uses them pays
    if name in ("Results", "load"):
        from normbench.results import load as module

        return getattr(module, name)
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("normbench")
        except PackageNotFoundError:  # a source tree that was never installed
            return "0+unknown"
    if name == "analyse":
        from normbench.workflow import analyse

        return analyse
    raise AttributeError(f"module 'normbench' has no attribute {name!r}")
