"""Where a path that a protocol names is."""

from __future__ import annotations

from pathlib import Path

from normbench.catalog.target import root
from normbench.datasets.names import cut
from normbench.errors import UsageError


def as_path(text: str, what: str) -> Path:
    """A text as a path, with ``~`` filled in; ``what`` says in an error whose it is.

    Raises :class:`UsageError` for what can be no path.
    """
    try:
        if "\0" in text:
            raise RuntimeError("it holds a null character")
        return Path(text).expanduser()
    except RuntimeError as error:  # ~ of a user who is not there
        raise UsageError(
            f"{what} must be a path; received '{cut(text)}' ({error}); likely fix: write "
            "the path out, from / on"
        ) from error


def beside_protocol(text: str) -> Path:
    """The path that a protocol names for a data set.

    A relative one is beside the protocol; where nothing of that name is there, in the current
    folder. Raises :class:`UsageError` for what can be no path.
    """
    path = as_path(text, "the parameter path of a data set")
    beside = Path(root(), path)
    return beside if root() and beside.exists() else path
