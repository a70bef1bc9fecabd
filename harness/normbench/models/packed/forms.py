"""What a norm is to the packed engine: the form that its entry in the catalogue names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from normbench.models.packed.block import Block, Operation

Shape = tuple[int, ...]

#: How the weights of the layers at sites are made of what is stored.
WeightForm = Literal["plain", "normed", "standardized"]


def _always(params: Mapping[str, Any]) -> bool:
    del params
    return True


@dataclass(frozen=True)
class Node:
    """One operation: its name in the plain module, if it has one, and the shapes around it."""

    name: str
    before: Shape
    after: Shape


@dataclass(frozen=True)
class Form:
    """The packed form of a norm.

    ``operation`` makes what stands at a site, unless nothing does; ``where`` says by the norm's
    parameters whether it is wanted. ``weight`` says what becomes of the weights of the layers at
    sites.

    A scale (and a shift) are ``per_element`` of a sample, or per channel; ``scales`` are their
    names, if there are any, and ``scalars`` those of parameters with a single value. With
    ``running`` there are running statistics of each channel, and the operation is one of
    :class:`~.batch_norm.BatchNorms`.

    ``together``: the operation takes images of all members that lie together as well as others.
    """

    operation: Callable[[NormNode, Block], Operation] | None = None
    where: Callable[[Mapping[str, Any]], bool] = _always
    weight: WeightForm = "plain"
    per_element: bool = False
    scales: tuple[str, ...] = ("weight", "bias")
    scalars: tuple[str, ...] = ()
    running: bool = False
    together: bool = False

    def stands(self, params: Mapping[str, Any]) -> bool:
        """Whether something stands at the sites, by the norm's parameters."""
        return self.operation is not None and self.where(params)


@dataclass(frozen=True)
class NormNode(Node):
    """A norm at a site, in the form that its entry in the catalogue names.

    ``ghost`` samples of a batch share statistics. ``in_place``: nobody else needs the input.
    ``together``: images of all members lie together.
    """

    form: Form
    params: Mapping[str, Any]
    ghost: int
    in_place: bool = False
    together: bool = False


#: Of the norm that is none, and of weight norm, which changes nothing but weights.
NONE = Form()
WEIGHT = Form(weight="normed")
