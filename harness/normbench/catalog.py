"""The catalogue: what norms, data sets, models and optimizers there are, by name.

An entry names its code as ``"module:attribute"`` and is imported when it is first used, so
that listing and validating need neither torch nor scikit-learn. A new component is one file
and one line here; another package adds its own through the entry-point groups
``normbench.norms``, ``normbench.datasets``, ``normbench.models``, ``normbench.optimizers``,
``normbench.schedules`` and ``normbench.probes``, each pointing to an :class:`Entry`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any

from normbench import quantities
from normbench.errors import UsageError
from normbench.quantities import Quantity

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Param:
    """One parameter of a component: its default, its range and what it means."""

    default: Scalar
    doc: str
    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One component: where its code is, a line for people, its parameters and its traits.

    A probe also says which quantities it ``gives``.
    """

    target: str
    summary: str
    params: Mapping[str, Param] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    gives: tuple[Quantity, ...] = ()

    def load(self) -> Any:
        """Import the component's code."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` most likely meant, if any is close."""
    found = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    return found[0] if found else None


class Catalog(Mapping[str, Entry]):
    """Components of one kind by name, the built-in ones and those of other packages."""

    def __init__(self, kind: str, built_in: Mapping[str, Entry]) -> None:
        self.kind = kind
        self._built_in = dict(built_in)

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        entries = dict(self._built_in)
        for point in entry_points(group=f"normbench.{self.kind.replace(' ', '')}s"):
            if point.name in entries:
                raise UsageError(
                    f"an installed package registers the {self.kind} {point.name!r}, which is "
                    f"taken already (by {entries[point.name].target}); rename or uninstall it"
                )
            entry = point.load()
            if not isinstance(entry, Entry):
                raise UsageError(
                    f"the entry point of the {self.kind} {point.name!r} must be a "
                    f"normbench.catalog.Entry; received {type(entry).__name__} ({point.value})"
                )
            entries[point.name] = entry
        return entries

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            close = nearest(name, self._entries)
            hint = f"; did you mean {close!r}?" if close else "."
            known = ", ".join(self._entries)
            raise UsageError(f"unknown {self.kind} {name!r}{hint} Known: {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


_EPS = Param(1e-5, "added to the variance", above=0.0, at_most=1.0)
_AFFINE = Param(True, "whether a scale and a shift are learned")

#: The norm computes from other samples of the batch, so that it depends on the batch size and
#: is evaluated with running, recomputed and batch statistics.
BATCH_STATISTICS = "batch-statistics"
#: A sample's output is the same whatever else is in the batch: the conformance suite checks it.
BATCH_INDEPENDENT = "batch-independent"
#: The norm changes a layer's weights instead of standing behind it: it is built from that layer.
WEIGHTS = "weights"

NORMS = Catalog(
    "norm",
    {
        "none": Entry(
            "normbench.norms.identity:build",
            "no normalization: the baseline",
            traits=frozenset({BATCH_INDEPENDENT}),
        ),
        "batch": Entry(
            "normbench.norms.batch:build",
            "batch norm (Ioffe & Szegedy 2015, arXiv:1502.03167)",
            params={
                "eps": _EPS,
                "momentum": Param(
                    0.1, "weight of the new batch in the running statistics", above=0, at_most=1
                ),
                "affine": _AFFINE,
                "time": Param(
                    "per-step",
                    "recurrent nets: statistics of each time step, or pooled over time",
                    choices=("per-step", "pooled"),
                ),
                "gamma": Param(
                    0.1,
                    "recurrent nets: initial scale (Cooijmans et al. 2017, arXiv:1603.09025)",
                    above=0.0,
                    at_most=10.0,
                ),
            },
            traits=frozenset({BATCH_STATISTICS}),
        ),
        "layer": Entry(
            "normbench.norms.layer:build",
            "layer norm over all of a sample's values, with a scale and a shift per element "
            "(Ba et al. 2016, arXiv:1607.06450)",
            params={"eps": _EPS, "affine": _AFFINE},
            traits=frozenset({BATCH_INDEPENDENT}),
        ),
        "group": Entry(
            "normbench.norms.group:build",
            "group norm (Wu & He 2018, arXiv:1803.08494)",
            params={
                "groups": Param(8, "channel groups; must divide the channels", at_least=1),
                "eps": _EPS,
                "affine": _AFFINE,
            },
            traits=frozenset({BATCH_INDEPENDENT}),
        ),
        "instance": Entry(
            "normbench.norms.instance:build",
            "instance norm (Ulyanov et al. 2016, arXiv:1607.08022), images only",
            params={"eps": _EPS, "affine": _AFFINE},
            traits=frozenset({BATCH_INDEPENDENT}),
        ),
        "weight": Entry(
            "normbench.norms.weight:build",
            "weight norm (Salimans & Kingma 2016, arXiv:1602.07868)",
            traits=frozenset({BATCH_INDEPENDENT, WEIGHTS}),
        ),
    },
)

_RESOLUTION = Param(224, "height and width in pixels", at_least=32, at_most=512)
_PHOTO_ITEMS = Param(0, "use this many photos (stratified); 0: all", at_least=0)

_DIGITS = Param(1797, "use this many of them (stratified)", at_least=50, at_most=1797)

DATASETS = Catalog(
    "data set",
    {
        "diabetes": Entry(
            "normbench.datasets.diabetes:DIABETES",
            "progression of diabetes by ten measurements in their own units, shipped with "
            "scikit-learn (Efron et al. 2004)",
        ),
        "digits": Entry(
            "normbench.datasets.digits:DIGITS",
            "1,797 handwritten digits of 8×8 pixels, shipped with scikit-learn",
            params={"items": _DIGITS},
        ),
        "digits-rows": Entry(
            "normbench.datasets.digit_sequences:DIGITS_ROWS",
            "the digits row by row: sequences of 8 steps with 8 features",
            params={"items": _DIGITS},
        ),
        "digits-pixels": Entry(
            "normbench.datasets.digit_sequences:DIGITS_PIXELS",
            "the digits pixel by pixel: sequences of 64 steps",
            params={"items": _DIGITS},
        ),
        "adding": Entry(
            "normbench.datasets.adding:ADDING",
            "the adding problem (Hochreiter & Schmidhuber 1997): a regression on sequences",
            params={
                "items": Param(2000, "how many are generated", at_least=50, at_most=100_000),
                "length": Param(30, "steps in training and validation", at_least=2, at_most=1000),
                "test_length": Param(60, "steps of the test items", at_least=2, at_most=1000),
            },
        ),
        "dogs-vs-cats": Entry(
            "normbench.datasets.photos:DOGS_VS_CATS",
            "photos of cats and dogs from a folder (Asirra; Elson et al. 2007)",
            params={
                "path": Param(
                    "",
                    "folder of the photos; empty: dogs-vs-cats in the folder that the environment "
                    "variable NORMBENCH_DATA names, else data/dogs-vs-cats",
                ),
                "resolution": _RESOLUTION,
                "items": _PHOTO_ITEMS,
            },
        ),
        "houses": Entry(
            "normbench.datasets.houses:HOUSES",
            "price of generated flats by area and number of bedrooms",
            params={
                "items": Param(500, "how many are drawn", at_least=50, at_most=1_000_000),
                "area_unit": Param(
                    "m2",
                    "unit of the area: square metres, square feet, pyeong (3.3 m²) or ares "
                    "(100 m²)",
                    choices=("m2", "ft2", "pyeong", "are"),
                ),
                "version": Param(1, "version of the draws", at_least=1, at_most=1),
            },
        ),
        "image-folder": Entry(
            "normbench.datasets.photos:IMAGE_FOLDER",
            "photos of any classes from a folder",
            params={
                "path": Param("", "folder of the photos; required"),
                "resolution": _RESOLUTION,
                "items": _PHOTO_ITEMS,
            },
        ),
        "pets": Entry(
            "normbench.datasets.pets:PETS",
            "drawn cats and dogs, for machines without photos",
            params={
                "items": Param(2000, "how many are drawn", at_least=50, at_most=100_000),
                "resolution": Param(64, "height and width in pixels", at_least=32, at_most=256),
                "version": Param(1, "version of the drawings", at_least=1, at_most=1),
            },
        ),
    },
)

_HIDDEN = {"hidden": Param(48, "hidden units", at_least=1, at_most=8192)}

MODELS = Catalog(
    "model",
    {
        "mlp": Entry(
            "normbench.models.mlp:layers",
            "fully connected net with two hidden layers",
            params={
                "width": Param(64, "units of each hidden layer", at_least=1, at_most=65536),
                "depth": Param(2, "hidden layers", at_least=1, at_most=64),
            },
        ),
        "linear": Entry(
            "normbench.models.linear:layers",
            "one linear layer, without a site for a norm",
        ),
        "small-cnn": Entry(
            "normbench.models.small_cnn:layers",
            "two 3×3 convolutions and a linear classifier, for 8×8 images",
            params={
                "width": Param(16, "channels of the first convolution", at_least=1, at_most=4096)
            },
        ),
        "alexnet": Entry(
            "normbench.models.alexnet:layers",
            "AlexNet (Krizhevsky 2014, arXiv:1404.5997), for 32, 64 or at least 128 pixels",
            params={
                "width": Param(1.0, "factor on all channels", above=0.0, at_most=8.0),
                "dropout": Param(
                    0.5, "dropout before both hidden layers", at_least=0.0, at_most=0.95
                ),
            },
        ),
        "lstm": Entry(
            "normbench.models.recurrent:lstm",
            "LSTM (Hochreiter & Schmidhuber 1997) and a linear layer on its last hidden state",
            params=_HIDDEN,
        ),
        "gru": Entry(
            "normbench.models.recurrent:gru",
            "GRU (Cho et al. 2014, arXiv:1406.1078) and a linear layer on its last hidden state",
            params=_HIDDEN,
        ),
        "rnn": Entry(
            "normbench.models.recurrent:rnn",
            "recurrent net with tanh (Elman 1990) and a linear layer on its last hidden state",
            params=_HIDDEN,
        ),
    },
)

_DECAY_NORMS = Param(False, "weight decay on biases and norm parameters too")
_ADAM = {
    "beta1": Param(0.9, "decay of the first moment", at_least=0.0, at_most=0.9999),
    "beta2": Param(0.999, "decay of the second moment", at_least=0.0, at_most=0.999999),
    "eps": Param(1e-8, "added to the root of the second moment", above=0.0, at_most=1.0),
    "decay_norms": _DECAY_NORMS,
}

OPTIMIZERS = Catalog(
    "optimizer",
    {
        "sgd": Entry(
            "normbench.training.optimizers:sgd",
            "stochastic gradient descent",
            params={
                "momentum": Param(0.9, "momentum", at_least=0.0, at_most=0.9999),
                "nesterov": Param(False, "Nesterov's momentum"),
                "weight_decay": Param(0.0, "L2 penalty", at_least=0.0),
                "decay_norms": _DECAY_NORMS,
            },
        ),
        "adam": Entry(
            "normbench.training.optimizers:adam",
            "Adam (Kingma & Ba 2015, arXiv:1412.6980)",
            params=_ADAM | {"weight_decay": Param(0.0, "L2 penalty", at_least=0.0)},
        ),
        "adamw": Entry(
            "normbench.training.optimizers:adamw",
            "Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101)",
            params=_ADAM | {"weight_decay": Param(0.01, "decoupled decay", at_least=0.0)},
        ),
    },
)

_WARMUP = Param(0.0, "share of the run in which the rate rises linearly", at_least=0.0, at_most=0.9)
_FINAL = Param(0.0, "factor at the end of the run", at_least=0.0, at_most=1.0)

SCHEDULES = Catalog(
    "schedule",
    {
        "constant": Entry(
            "normbench.training.schedules:constant",
            "the same learning rate at every step",
            params={"warmup": _WARMUP},
        ),
        "cosine": Entry(
            "normbench.training.schedules:cosine",
            "half a cosine (Loshchilov & Hutter 2017, arXiv:1608.03983)",
            params={"warmup": _WARMUP, "final": _FINAL},
        ),
        "linear": Entry(
            "normbench.training.schedules:linear",
            "a straight line down",
            params={"warmup": _WARMUP, "final": _FINAL},
        ),
        "step": Entry(
            "normbench.training.schedules:stepwise",
            "multiplied by a factor at equal intervals",
            params={
                "warmup": _WARMUP,
                "drops": Param(2, "how often it drops", at_least=1, at_most=100),
                "factor": Param(0.1, "multiplied at each drop", above=0.0, at_most=1.0),
            },
        ),
    },
)

PROBES = Catalog(
    "probe",
    {
        "weights": Entry(
            "normbench.training.probes.weights:weights",
            "sizes of weights and updates, angles, effective learning rates",
            gives=quantities.WEIGHTS,
        ),
        "landscape": Entry(
            "normbench.training.probes.landscape:landscape",
            "loss and gradient along the gradient (Santurkar et al. 2018, arXiv:1805.11604)",
            gives=quantities.LANDSCAPE,
        ),
        "covariate-shift": Entry(
            "normbench.training.probes.covariate_shift:covariate_shift",
            "change of gradients by the layers before (Santurkar et al. 2018, arXiv:1805.11604)",
            gives=quantities.COVARIATE_SHIFT,
        ),
        "drift": Entry(
            "normbench.training.probes.drift:drift",
            "drift of activations (after Ioffe & Szegedy 2015, arXiv:1502.03167)",
            gives=quantities.DRIFT,
        ),
        "curvature": Entry(
            "normbench.training.probes.curvature:curvature",
            "top eigenvalue of the Hessian, by Lanczos iteration",
            gives=quantities.CURVATURE,
        ),
        "max-step": Entry(
            "normbench.training.probes.max_step:max_step",
            "longest step that lowers the loss (after Bjorck et al. 2018, arXiv:1806.02375)",
            gives=quantities.MAX_STEP,
        ),
        "activations": Entry(
            "normbench.training.probes.activations:activations",
            "statistics of activations, and dead channels",
            gives=quantities.ACTIVATIONS,
        ),
        "participation": Entry(
            "normbench.training.probes.gradients:participation",
            "how many of its features and channels a layer's gradient uses",
            gives=quantities.PARTICIPATION,
        ),
        "gradient-tails": Entry(
            "normbench.training.probes.gradients:gradient_tails",
            "tails of the gradients (after Bjorck et al. 2018, arXiv:1806.02375)",
            gives=quantities.GRADIENT_TAILS,
        ),
        "gradient-noise": Entry(
            "normbench.training.probes.gradient_noise:gradient_noise",
            "noise of gradients and of batch statistics between batches",
            gives=quantities.GRADIENT_NOISE,
        ),
        "excess-loss": Entry(
            "normbench.training.probes.linear:excess_loss",
            "linear regressions: the loss above the least possible, as a share of what the "
            "features explain",
            gives=quantities.EXCESS_LOSS,
        ),
        "linear-weights": Entry(
            "normbench.training.probes.linear:linear_weights",
            "linear regressions: the weight of every feature",
            gives=quantities.LINEAR_WEIGHTS,
        ),
        "update-share": Entry(
            "normbench.training.probes.linear:update_share",
            "linear regressions: how much of a step each feature has",
            gives=quantities.UPDATE_SHARE,
        ),
    },
)


def probes_that_give(quantity: str) -> list[str]:
    """The probes that give a quantity: one, unless other packages measure it too."""
    return [name for name, entry in PROBES.items() if any(g.name == quantity for g in entry.gives)]


def quantity(name: str) -> Quantity:
    """The quantity of that name; raises :class:`UsageError` where no probe gives it."""
    known = {given.name: given for entry in PROBES.values() for given in entry.gives}
    if name in known:
        return known[name]
    close = nearest(name, known)
    hint = f"; did you mean {close!r}?" if close else "."
    raise UsageError(f"no probe gives the quantity {name!r}{hint} Known: {', '.join(known)}")
