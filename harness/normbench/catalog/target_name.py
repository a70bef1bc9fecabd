"""What a target is called: a class or a function, by its file or its package.

Nothing is imported for it.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from normbench.catalog.args import Args
from normbench.catalog.entries import Param
from normbench.errors import UsageError

_FORM = 'a target is "file.py:attribute" (a file beside the protocol) or "package.module:attribute"'


@dataclass(frozen=True, order=True)
class Target:
    """Where a class or function is: a file relative to the protocol, or a module; and its name."""

    module: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.module}:{self.attribute}"

    @property
    def is_file(self) -> bool:
        """Whether it is in a file beside the protocol, not in an installed package."""
        return self.module.endswith(".py")

    def file(self, root: str) -> Path:
        """The file of a target that is in one; :class:`UsageError` where it is not there."""
        if not root:
            raise UsageError(f"the target {self} is beside a protocol, and there is none here")
        path = Path(root, self.module)
        if not path.is_file():
            raise UsageError(
                f"the target {self} needs the file {path}, which is not there; likely fix: write "
                "its name relative to the folder of the protocol"
            )
        return path


def check_package(target: Target, root: str) -> None:
    """Refuse a target of a package that is not installed, or that is a file beside the protocol.

    Such a file would be code that is neither named by its file nor part of a run's identity.
    """
    top = target.module.partition(".")[0]
    as_file = f"{target.module.replace('.', '/')}.py:{target.attribute}"
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise UsageError(
            f"the target {target} needs the package {top}, which is not installed; likely fix: "
            f"install it, or write {as_file} for a file of your own"
        )
    places = [*(spec.submodule_search_locations or ()), *filter(None, [spec.origin])]
    if root and any(Path(place).resolve().parent == Path(root).resolve() for place in places):
        fix = f"write {as_file}"
        if spec.submodule_search_locations:
            fix = (
                "name a file of your own beside the protocol, and in it `from "
                f"{target.module} import {target.attribute}` and a function that calls it"
            )
        raise UsageError(
            f"the target {target} is beside the protocol, and no installed package; likely fix: "
            f"{fix}"
        )


def parsed(text: str) -> Target:
    """A target as it is written; ``ValueError`` says what is wrong with it."""
    module, colon, attribute = text.partition(":")
    if not colon or not module or not attribute.isidentifier():
        raise ValueError(f"{_FORM}; received {text!r}")
    if "/" in module or module.endswith(".py"):
        path = PurePosixPath(module)
        if not module.endswith(".py"):
            raise ValueError(f"{_FORM}; received {text!r}; likely fix: {module}.py:{attribute}")
        if path.is_absolute() or "\\" in module:
            raise ValueError(
                f"the file of a target is written relative to the protocol, with /; received "
                f"{text!r}"
            )
        return Target(str(path), attribute)
    if not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"{_FORM}; received {text!r}")
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == "normbench":
        raise ValueError(
            f"a target is your own or an installed package's, none of "
            f"{'Python' if top != 'normbench' else 'normbench'}'s own modules; received {text!r}"
        )
    return Target(module, attribute)


def _checked(text: str) -> str:
    return str(parsed(text))


#: The parameters of an entry whose component is a target.
TARGET = Param(
    "", "file.py:attribute beside the protocol, or package.module:attribute", check=_checked
)
ARGS = Param(Args(), "what it is called with")  # type: ignore[arg-type]
