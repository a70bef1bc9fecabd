"""A norm under examination: of the catalogue, or the user's own by its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from normbench.catalog import BATCH_INDEPENDENT, NORMS
from normbench.catalog.target import load, packages_of_target
from normbench.errors import ComponentError, UndefinedError, UsageError
from normbench.norms.factory import build_norm, changes_weights, wrap_layer
from normbench.norms.own import untried
from normbench.norms.trial import BATCH, sample
from normbench.place import told

#: A vector and an image, with channels that two groups and eight divide.
SHAPES: tuple[tuple[int, ...], ...] = ((16,), (16, 5, 4))


@dataclass(frozen=True)
class Subject:
    """A norm: what it is called, how it is built for samples of a shape, and what it promises.

    ``independent`` is whether a sample's output is promised to be the same whatever else is in the
    batch; None where nothing is promised and it is to be found out. ``params`` are those that a
    formula takes.
    """

    label: str
    build: Callable[[tuple[int, ...]], nn.Module]
    independent: bool | None
    params: Mapping[str, Any] = field(default_factory=dict)
    #: It is built from a layer, whose weights it changes.
    wraps: bool = False
    #: It is the user's own: its errors are placed in these packages.
    own: bool = False
    packages: frozenset[str] = frozenset()

    def unfit(self, shape: tuple[int, ...]) -> str:
        """Why it is not for samples of a shape; empty where it is.

        A norm of the catalogue says so by :class:`UndefinedError`; the user's own may raise
        whatever it likes, as torch's own do.
        """
        try:
            module = self.build(shape)
            if self.own:
                with torch.no_grad():
                    module.train()(sample(shape))
        except UndefinedError as error:
            return str(error)
        except (Exception, SystemExit) as error:
            if not self.own or isinstance(error, UsageError):
                raise
            return self.told(error)
        return ""

    def shapes(self) -> list[tuple[int, ...]]:
        """Those of :data:`SHAPES` that it is for."""
        return [shape for shape in SHAPES if not self.unfit(shape)]

    def told(self, error: BaseException) -> str:
        """An error of the norm in a line, with its place."""
        return str(error) if isinstance(error, ComponentError) else told(error, self.packages)


def default_params(name: str) -> dict[str, Any]:
    """A norm's parameters at their defaults."""
    return {key: param.default for key, param in NORMS[name].params.items()}


def of_catalogue(name: str) -> Subject:
    """A norm of the catalogue at its defaults; one that changes weights wraps a layer."""
    params = default_params(name)

    def build(shape: tuple[int, ...]) -> nn.Module:
        if changes_weights(name):
            return wrap_layer(name, params, _fixed_layer(shape))
        return build_norm(name, params, shape, BATCH)

    return Subject(
        name, build, BATCH_INDEPENDENT in NORMS[name].traits, params, changes_weights(name)
    )


def of_target(target: str, args: Mapping[str, Any]) -> Subject:
    """A norm of the user's own; what is tried wherever it is built is left to the checks.

    Raises what loading the target raises.
    """

    def build(shape: tuple[int, ...]) -> nn.Module:
        return untried(target, args, shape)

    load(target)
    packages = frozenset(packages_of_target(target))
    return Subject(target, build, None, own=True, packages=packages)


def _fixed_layer(shape: tuple[int, ...]) -> nn.Module:
    """A linear layer or a convolution that keeps ``shape``, with weights that draw nothing."""
    if len(shape) == 1:
        layer = nn.utils.skip_init(nn.Linear, shape[0], shape[0])  # type: ignore[no-untyped-call]
    else:
        layer = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Conv2d, shape[0], shape[0], 3, padding=1
        )
    with torch.no_grad():
        for parameter in layer.parameters():
            values = torch.linspace(-1.0, 1.0, parameter.numel()) ** 3 + 0.1
            parameter.copy_(values.reshape(parameter.shape))
    return cast(nn.Module, layer)
