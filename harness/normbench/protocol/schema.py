"""A cell and its axes, as pydantic models: the one place that says what an axis may be."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
)

from normbench.catalog import AUGMENTATIONS, DATASETS, MODELS, NORMS, OPTIMIZERS, PROBES, SCHEDULES
from normbench.protocol.choice import Choice, NameIn, OneOf, Stored
from normbench.protocol.names import declared_name

MAX_SEEDS = 10_000
MAX_RUNS = 1_000_000
MAX_SEED = 2**62
MAX_ITEMS = 10**9
#: Evaluations of a run whose budget is in steps or samples, unless it says otherwise.
DEFAULT_EVALUATIONS = 10

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
StudyName = Annotated[str, Field(max_length=255), AfterValidator(declared_name)]
InputNorm = Literal["raw", "centred", "per-channel", "global", "imagenet"]
InputUnits = Literal["unit", "byte", "uneven"]
Position = Literal["pre", "post"]
Init = Literal["torch", "he"]
LrScaling = Literal["none", "linear", "sqrt", "curvature"]
Metric = Literal["accuracy", "loss"]
Precision = Literal["fp32", "bf16", "fp16"]
NormPrecision = Literal["fp32", "autocast"]
EmaBuffers = Literal["averaged", "copied", "recomputed"]
NamedSites = Literal["all", "first-two", "fc"]


def strict() -> ConfigDict:
    """Settings of all models here: exact types, no unknown keys, no later changes.

    A worker only takes over what was checked, and builds no validators for it.
    """
    return ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)


def as_tuple(value: Any) -> Any:
    """A TOML list as a tuple; anything else as it is, for the model to judge."""
    return tuple(value) if isinstance(value, list) else value


def _one_or_more(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def seed_list(value: Any) -> Any:
    """Turn ``20`` into the seeds 0 to 19; refuse absurd counts before making a list of them."""
    if isinstance(value, list | tuple):
        return tuple(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a number of seeds, or a list of seeds")
    if not 1 <= value <= MAX_SEEDS:
        raise ValueError(f"the number of seeds must lie between 1 and {MAX_SEEDS:,}")
    return tuple(range(value))


def unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, if no two of them are one thing; else ``ValueError``."""
    seen: set[Any] = set()
    for value in values:
        shown = value.label if isinstance(value, Choice) else value
        if value in seen or shown in seen:  # what has one label is one thing in tables and pages
            raise ValueError(f"the values must differ; {shown!r} is listed more than once")
        seen |= {value, shown}
    return values


def _one_of_each(values: tuple[Choice, ...]) -> tuple[Choice, ...]:
    names = [value.name for value in values]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"each is listed once; {name!r} is listed more than once")
    return values


def _probe_list(value: Any) -> Any:
    """Turn ``"all"`` into every known probe, and a name into a list of it."""
    if value == "all":
        return tuple(PROBES)
    return value if isinstance(value, tuple) else _one_or_more(value)


def _in_catalogue_order(names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """The names in the catalogue's order: in which order they are listed decides no run.

    Stored names stay as they are: some may not be in the catalogue.
    """
    unique(names)
    if isinstance(info.context, Stored):
        return names
    return tuple(name for name in PROBES if name in names)


Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...],
    Field(min_length=1, max_length=MAX_SEEDS),
    BeforeValidator(seed_list, json_schema_input_type=int | list[int]),
]
Thresholds = Annotated[
    tuple[Annotated[float, Field(allow_inf_nan=False)], ...],
    Field(max_length=50),
    BeforeValidator(_one_or_more, json_schema_input_type=float | list[float]),
]

Augmentation = Annotated[Choice, OneOf(AUGMENTATIONS)]
Augmentations = Augmentation | list[Augmentation]
ProbeNames = Literal["all"] | Annotated[str, NameIn(PROBES)] | list[Annotated[str, NameIn(PROBES)]]


class Cell(BaseModel):
    """One fully resolved configuration: every axis has one value. A cell and a seed are a run."""

    model_config = strict()

    dataset: Annotated[Choice, OneOf(DATASETS)] = Field(description="what is learned")
    model: Annotated[Choice, OneOf(MODELS)] = Field(description="the network")
    norm: Annotated[Choice, OneOf(NORMS)] = Field(description="the normalization under study")
    batch_size: int = Field(
        ge=1,
        le=1_000_000,
        description="samples that go through the network at once in training",
    )
    accumulate: int = Field(
        default=1,
        ge=1,
        le=100_000,
        description="batches whose averaged gradients make one training step",
    )
    norm_batch_size: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="samples from which batch norm takes its statistics in training (ghost "
        "batches); default: the whole batch",
    )
    learning_rate: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = Field(
        description="at the reference batch size; absent where it is tuned"
    )
    epochs: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        description="budget: passes over the training split"
    )
    budget_steps: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        default=None, description="budget in training steps, in place of epochs"
    )
    budget_samples: Annotated[int, Field(ge=1, le=10**12)] | None = Field(
        default=None,
        description="budget in training samples, in place of epochs; a last part of a batch counts "
        "as a whole one",
    )
    sites: Annotated[
        NamedSites | Annotated[tuple[str, ...], Field(min_length=1)],
        BeforeValidator(as_tuple, json_schema_input_type=NamedSites | list[str]),
    ] = Field(
        default="all",
        description="where the norm stands: all, first-two, fc (the hidden linear layers), or "
        "site names",
    )
    position: Position = Field(default="pre", description="before or after the activation function")
    init: Init = Field(default="torch", description="initial weights: torch's default, or He's")
    input_norm: InputNorm = Field(
        default="per-channel", description="how inputs are scaled, by the training split alone"
    )
    input_units: InputUnits = Field(
        default="unit", description="inputs in [0, 1], in [0, 255], or unevenly scaled channels"
    )
    augment: Annotated[
        tuple[Augmentation, ...],
        BeforeValidator(_one_or_more, json_schema_input_type=Augmentations),
        AfterValidator(_one_of_each),
    ] = Field(default=(), description="random changes of training pictures, one after the other")
    optimizer: Annotated[Choice, OneOf(OPTIMIZERS)] = Field(
        default="sgd", validate_default=True, description="the optimizer and its parameters"
    )
    clip_norm: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = Field(
        default=None, description="longer gradients are scaled to this Euclidean norm"
    )
    precision: Precision = Field(
        default="fp32",
        description="in what the network computes: float32, or a 16-bit type by autocast, fp16 "
        "with loss scaling",
    )
    norm_precision: NormPrecision = Field(
        default="fp32",
        description="in what norms compute where the network computes in 16 bits: float32, or what "
        "autocast gives them",
    )
    ema: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        allow_inf_nan=False,
        description="decay of the exponential moving average of the weights that is evaluated; 0: "
        "the weights themselves",
    )
    ema_buffers: EmaBuffers = Field(
        default="averaged",
        description="the averaged weights' running statistics: averaged as the weights, the "
        "training's own, or recomputed",
    )
    lr_schedule: Annotated[Choice, OneOf(SCHEDULES)] = Field(
        default="constant",
        validate_default=True,
        description="how the learning rate changes within a run",
    )
    lr_scaling: LrScaling = Field(
        default="none",
        description="how the learning rate grows with the batch size; curvature: it is given in "
        "units of 1/λ_max of the training loss (linear regressions alone)",
    )
    lr_reference_batch: int = Field(
        default=32,
        ge=1,
        le=1_000_000,
        description="samples per training step at which learning_rate holds as it is",
    )
    evaluations_per_epoch: int = Field(default=1, ge=1, le=1000)
    evaluations: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None,
        description="evaluations in the whole run, evenly spaced, in place of "
        "evaluations_per_epoch; default for budgets in steps or samples: 10",
    )
    train_size: int | None = Field(
        default=None,
        ge=1,
        le=MAX_ITEMS,
        description="use this many training samples only (stratified)",
    )
    split_seed: int = Field(default=0, ge=0, le=MAX_SEED, description="decides the data split")
    validation_fraction: float = Field(default=0.2, gt=0, lt=1)
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    statistics_samples: int = Field(
        default=1024,
        ge=1,
        le=MAX_ITEMS,
        description="training samples for recomputed statistics",
    )
    probes: Annotated[
        tuple[Annotated[str, NameIn(PROBES)], ...],
        BeforeValidator(_probe_list, json_schema_input_type=ProbeNames),
        AfterValidator(_in_catalogue_order),
    ] = Field(
        default=(),
        description="what is measured inside the network at every evaluation; changes no training",
    )

    @property
    def statistics_batch(self) -> int:
        """The samples from which batch norm takes its statistics."""
        return self.batch_size if self.norm_batch_size is None else self.norm_batch_size

    @property
    def samples_per_step(self) -> int:
        """The samples whose gradients make one training step."""
        return self.batch_size * self.accumulate

    @property
    def asked_evaluations(self) -> int:
        """How often a run is to be evaluated after its start."""
        if self.evaluations is not None:
            return self.evaluations
        if self.epochs is not None:
            return self.epochs * self.evaluations_per_epoch
        return DEFAULT_EVALUATIONS

    @property
    def most_evaluations(self) -> int:
        """The most evaluations after its start that a run can have: one a step at most."""
        if self.epochs is not None:  # the data decide how many steps these are
            return self.asked_evaluations
        return min(self.asked_evaluations, self.budget_in_steps(1))

    def budget_in_steps(self, steps_per_epoch: int) -> int:
        """The training steps of a run with this many steps per epoch."""
        if self.budget_steps is not None:
            return self.budget_steps
        if self.budget_samples is not None:
            return -(-self.budget_samples // self.samples_per_step)
        if self.epochs is None:
            raise ValueError("the cell has no budget")
        return self.epochs * steps_per_epoch

    def scaled_learning_rate(self) -> float:
        """The learning rate of steps of so many samples, after scaling from the reference batch.

        Where it is scaled by ``curvature`` it is in units of 1/λ_max, as given. Raises
        ``ValueError`` while the rate is still to be tuned.
        """
        if self.learning_rate is None:
            raise ValueError("the learning rate of this cell is not tuned yet")
        ratio = self.samples_per_step / self.lr_reference_batch
        factors = {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio), "curvature": 1.0}
        return self.learning_rate * factors[self.lr_scaling]


AXES: tuple[str, ...] = tuple(Cell.model_fields)
#: Of these a cell has exactly one.
BUDGETS: tuple[str, ...] = ("epochs", "budget_steps", "budget_samples")
REQUIRED_AXES: tuple[str, ...] = tuple(n for n, f in Cell.model_fields.items() if f.is_required())
