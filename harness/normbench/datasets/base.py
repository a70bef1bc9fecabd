"""What a data set gives: arrays, and a description that needs no training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from normbench.datasets.digest import Skipped, digest_of

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Arrays:
    """A whole data set in memory.

    ``inputs`` has shape (items, channels, height, width), as uint8 in 0…255 or as float32 in
    [0, 1]; tabular data are (items, features, 1, 1) in the units of the features, and sequences are
    (items, features, steps) as float32, the features where images have their channels. ``labels``
    has shape (items,): in a classification int64, from 0 to ``classes`` − 1; in a regression
    float32, and then ``classes`` is 1 (the outputs of the network) and ``tolerance`` the absolute
    error up to which an item counts as right, in the labels' units. Labels that are
    ``standardized`` become those of mean 0 and variance 1 in the training split, and ``tolerance``
    is in that unit. ``features`` names the columns of tabular data. ``key`` names the content (data
    set, version, parameters): the split is derived from it.

    Sequences of tokens are (items, tokens) as int64, from 0 to ``classes`` − 1, the vocabulary;
    their ``labels`` have the same shape, a class for each token.

    ``test_inputs`` are what the items of the test split look like where that differs, such as
    sequences with more steps than in training: (items, …) in the order of ``inputs``, with the
    same channels and the same labels.

    ``given`` (items,) says which items belong to a part from the start: 1 to validation, 2 to the
    test, 0 to what is divided among the parts that have none of their own.

    ``skipped`` says which files were left out, and ``read_by`` which program made pixels of the
    others. ``known`` may give an array of these and a digest of it, where there is one already.
    """

    key: str
    inputs: NDArray[Any]
    labels: NDArray[Any]
    classes: int
    task: Task = "classification"
    tolerance: float = 0.0
    standardized: bool = False
    features: tuple[str, ...] = ()
    test_inputs: NDArray[Any] | None = None
    given: NDArray[Any] | None = None
    skipped: Skipped | None = None
    read_by: str = ""
    known: tuple[NDArray[Any], str] | None = None

    @cached_property
    def sha256(self) -> str:
        """Digest of the content: of all that training reads."""
        said = [self.task, self.classes, self.tolerance, self.standardized, list(self.features)]
        arrays = {
            "inputs": self.inputs, "labels": self.labels, "test": self.test_inputs,
            "given": self.given,
        }  # fmt: skip
        return digest_of(said, arrays, self.known)

    @property
    def of_tokens(self) -> bool:
        """Whether the inputs are sequences of tokens."""
        return self.inputs.ndim == 2 and bool(self.inputs.dtype == "int64")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input: (channels, height, width)."""
        return tuple(self.inputs.shape[1:])


class Dataset(Protocol):
    """A data set of the catalogue."""

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """None if the data are on this machine, else how to get them."""
        ...

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """The data; raises DataMissingError where :meth:`missing` would say why."""
        ...
