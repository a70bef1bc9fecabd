"""Claims: what a study says it will show, declared before its first run.

A claim compares two sides, each exactly one cell (per value of ``over``), by one endpoint. It
is resolved to cells when the protocol is read, so that a claim about nothing, or about two
things at once, is a fault of the protocol and not of the report.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    model_validator,
)

from normbench.catalog import quantity
from normbench.errors import UsageError
from normbench.protocol.choice import Stored
from normbench.protocol.schema import Slug, as_tuple, strict
from normbench.protocol.tables import FixedAxes
from normbench.protocol.windows import DEFAULT_WINDOW

Kind = Literal["superiority", "noninferiority", "equivalence", "interaction"]
EndpointKind = Literal["final", "best", "time", "aulc", "diverged"]
ClaimMetric = Literal[
    "val_error", "val_accuracy", "val_loss", "test_error", "test_accuracy", "test_loss"
]
PROBE = "probe:"


def probe_parts(metric: str) -> tuple[str, str] | None:
    """Quantity and layer (empty: the whole model) of a metric that a probe gives, else None."""
    if not metric.startswith(PROBE):
        return None
    name, _, layer = metric.removeprefix(PROBE).partition("/")
    return name, layer


def metric_parts(metric: str) -> tuple[str, str]:
    """Split and quantity of a metric of the evaluations."""
    split, _, name = metric.partition("_")
    return split, name


def _known_quantity(metric: str, info: ValidationInfo) -> str:
    name, layer = probe_parts(metric) or ("", "")
    if not name or (not layer and metric.endswith("/")):
        raise ValueError("must be probe:NAME, or probe:NAME/LAYER for one layer")
    if isinstance(info.context, Stored):
        return metric  # of a probe that may not be installed here
    try:
        quantity(name)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return metric


ProbeMetric = Annotated[
    str, Field(json_schema_extra={"pattern": "^probe:.+"}), AfterValidator(_known_quantity)
]
#: A column of the evaluations, or a quantity that a probe gives.
AnyMetric = Annotated[
    Annotated[ClaimMetric, Tag("evaluation")] | Annotated[ProbeMetric, Tag("probe")],
    Discriminator(lambda v: "probe" if str(v).startswith(PROBE) else "evaluation"),
]
Evaluation = Literal["running", "recomputed", "batch"]
Verdict = Literal["supported", "refuted", "inconclusive"]
#: The rival of a claim about one side at several batch sizes.
ITSELF = "itself"


class ClaimEndpoint(BaseModel):
    """What is read off each run for a claim."""

    model_config = strict()

    kind: EndpointKind = "final"
    metric: AnyMetric = Field(
        default="val_error",
        description="of validation or test, or probe:NAME, or probe:NAME/LAYER",
    )
    goal: Literal["min", "max"] | None = Field(
        default=None,
        description="which values are better; follows from the metric, but is needed for a probe's",
    )
    window: int = Field(
        default=DEFAULT_WINDOW,
        ge=1,
        le=1000,
        description="evaluations that are averaged, of those after the start of a run; by default "
        "fewer where there are fewer",
    )
    failure_score: float | None = Field(
        default=None, allow_inf_nan=False, description="value of a diverged run"
    )
    threshold: Annotated[float, Field(allow_inf_nan=False)] | Literal["pooled"] | None = Field(
        default=None, description="level to reach, or pooled: from all runs, label-blind"
    )
    budget: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="epochs after which time ends; default: the runs' epochs",
    )
    estimand: Literal["difference", "geometric-ratio"] = Field(
        default="difference", description="of times: mean difference, or ratio of means of logs"
    )

    @property
    def better(self) -> Literal["min", "max"]:
        """Whether smaller or larger values of the metric are better."""
        if probe_parts(self.metric) is not None and self.goal is not None:
            return self.goal
        return "max" if self.metric.endswith("accuracy") else "min"

    @model_validator(mode="after")
    def _declared(self) -> ClaimEndpoint:
        if probe_parts(self.metric) is not None and self.goal is None:
            raise ValueError(f"{self.metric} needs a goal, min or max: which values are better")
        if self.goal is not None and self.goal != self.better:
            raise ValueError(f"goal of {self.metric} is {self.better!r}; leave goal out")
        if self.kind in ("final", "best", "aulc") and self.failure_score is None:
            raise ValueError(
                f"endpoint {self.kind!r} needs failure_score, the value of a diverged run "
                "(chance: error 1 − 1/K, loss ln K)"
            )
        if self.kind == "time" and self.threshold is None:
            raise ValueError('endpoint "time" needs a threshold: a number, or "pooled"')
        if self.estimand != "difference" and self.kind != "time":
            raise ValueError("a ratio is an estimand of times alone")
        return self


def _named(value: Any) -> Any:
    return {"norm": value} if isinstance(value, str) else value


class Side(FixedAxes):  # type: ignore[misc]
    """One side of a claim: axis values that single out a cell, and how it is evaluated."""

    evaluation: Evaluation = Field(default="running", description="batch norm's statistics")


AnySide = Annotated[Side, BeforeValidator(_named, json_schema_input_type=str | Side)]


class Over(BaseModel):
    """The batch sizes of a claim."""

    model_config = strict()

    batch_size: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...],
        Field(min_length=1),
        BeforeValidator(as_tuple, json_schema_input_type=list[int]),
    ]
    weights: Literal["inverse"] = Field(
        default="inverse", description="of an interaction: slope in one over the batch size"
    )


class Reference(BaseModel):
    """The batch size that an invariance claim compares the others with."""

    model_config = strict()

    batch_size: int = Field(ge=1)


class Claim(BaseModel):
    """One table ``[[claim]]``."""

    model_config = strict()

    id: Slug
    family: Slug | None = None
    kind: Kind
    a: AnySide
    b: AnySide | None = None
    endpoint: ClaimEndpoint = Field(description="what is compared")
    experiment: str | None = Field(default=None, description="needed if there are several")
    where: FixedAxes | None = None
    over: Over | None = Field(default=None, description="default: every batch size")
    reference: Reference | None = None
    margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    expect: Verdict | None = Field(default=None, description="what `normbench check` gates on")
    chapter: str = Field(default="", max_length=2000, description="what the chapter says")
    text: str = Field(default="", max_length=2000, description="the claim in words")

    @model_validator(mode="after")
    def _fits(self) -> Claim:
        if self.kind in ("noninferiority", "equivalence") and not self.margin > 0:
            raise ValueError(f"{self.kind} needs a margin above 0, in the metric's unit")
        if self.reference is not None and self.kind != "equivalence":
            raise ValueError("a reference batch size belongs to an equivalence claim")
        if (self.b is None) == (self.reference is None):
            raise ValueError("a claim compares a with b, or (equivalence) with a reference")
        if self.endpoint.kind == "diverged" and (self.kind != "superiority" or self.margin):
            raise ValueError("divergence is compared by superiority without a margin")
        return self


class Family(BaseModel):
    """One table ``[[family]]``: claims that are corrected together."""

    model_config = strict()

    id: Slug
    method: Literal["max-t", "holm"] | None = Field(
        default=None, description="default: max-t, or holm where max-t does not apply"
    )
