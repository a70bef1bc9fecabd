"""Calling a component's code: what one of another package raises is told as its error.

Of such a component only :class:`~normbench.errors.UndefinedError` says that a configuration has no
meaning. Anything else that it raises is a failure of its own, with its place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator

from normbench.catalog.entries import Catalog
from normbench.errors import ComponentError, UndefinedError
from normbench.place import told


def packages_of(components: Iterable[tuple[Catalog, str]]) -> set[str]:
    """The top-level packages of those components that are not built in."""
    found = set()
    for catalog, name in components:
        if not catalog.built_in(name):
            modules = catalog.origin(name).module, catalog[name].target.partition(":")[0]
            found |= {module.partition(".")[0] for module in modules}
    return found - {"normbench"}


@contextlib.contextmanager
def guarded(catalog: Catalog, name: str, *agreed: type[Exception]) -> Iterator[None]:
    """Within, errors of a component of another package become :class:`ComponentError`.

    ``agreed`` ones, which its kind may raise, pass; a built-in component's pass all.
    """
    if catalog.built_in(name):
        yield
        return
    with guarding(packages_of([(catalog, name)]), *agreed):
        yield


@contextlib.contextmanager
def guarding(packages: Collection[str], *agreed: type[Exception]) -> Iterator[None]:
    """Within, errors become :class:`ComponentError` with their place in these packages.

    ``agreed`` ones pass.
    """
    passing: tuple[type[Exception], ...] = (UndefinedError, ComponentError, *agreed)
    try:
        yield
    except passing:
        raise
    except (Exception, SystemExit) as error:
        raise ComponentError(told(error, packages)) from error
