"""The tables of a protocol file, as pydantic models: which axes and settings each may have."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    create_model,
    field_validator,
    model_serializer,
)
from pydantic.fields import FieldInfo

from normbench.catalog import NORMS
from normbench.protocol.choice import Choice, OneOf
from normbench.protocol.schema import (
    MAX_SEED,
    MAX_SEEDS,
    Cell,
    Metric,
    Seeds,
    Slug,
    StudyName,
    Thresholds,
    as_tuple,
    seed_list,
    strict,
    unique,
)

FIRST_TUNING_SEED = 1_000_000


def _tuning_seeds(value: Any) -> Any:
    """Turn a number into seeds far from those of any evaluation."""
    seeds = seed_list(value)
    if isinstance(value, int) and isinstance(seeds, tuple):
        return tuple(FIRST_TUNING_SEED + seed for seed in seeds)
    return seeds


def _annotation(info: FieldInfo) -> Any:
    """A field's annotation with its constraints, to be used in another model."""
    return Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation


def _partial(name: str, doc: str) -> type[BaseModel]:
    fields: dict[str, Any] = {
        axis: (_annotation(info) | None, Field(default=None, description=info.description))
        if type(None) not in get_args(info.annotation)
        else (_annotation(info), Field(default=None, description=info.description))
        for axis, info in Cell.model_fields.items()
    }
    return create_model(name, __config__=strict(), __doc__=doc, **fields)


def _lists(name: str, doc: str) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for axis, info in Cell.model_fields.items():
        item: Any = _annotation(info)
        limits = Field(min_length=1, max_length=10_000)
        values = Annotated[
            tuple[item, ...],
            limits,
            BeforeValidator(as_tuple, json_schema_input_type=Annotated[list[item], limits]),
        ]
        fields[axis] = (values | None, Field(default=None, description=info.description))
    return create_model(
        name,
        __config__=strict(),
        __doc__=doc,
        __validators__={
            "unique_values": field_validator("*", mode="after")(
                lambda values: unique(values) if values and name == "ProductAxes" else values
            )
        },
        **fields,
    )


FixedAxes: Any = _partial("FixedAxes", "Axes with one value each.")
ProductAxes: Any = _lists("ProductAxes", "Axes of which every combination is a cell.")
ZippedAxes: Any = _lists("ZippedAxes", "Axes that go together: the first of each, the second, …")


class Endpoint(BaseModel):
    """What is read off a learning curve; an experiment may override the protocol's."""

    model_config = strict()

    seeds: Seeds | None = Field(default=None, description="a number of seeds, or a list")
    metric: Metric | None = Field(default=None, description="validation metric of the endpoints")
    thresholds: Thresholds | None = Field(
        default=None, description="levels of the metric whose first crossing is timed"
    )
    window: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="evaluations averaged by the endpoints, of those after the start of a run; "
        "default: 3, or as many as there are",
    )
    reference: str | None = Field(
        default=None, description="the norm that the others are compared with"
    )

    @field_validator("seeds", "thresholds")
    @classmethod
    def _no_duplicates(cls, value: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        return unique(value) if value is not None else None


class Tune(BaseModel):
    """The table ``[experiment.tune]``: a learning rate chosen per cell, on seeds of its own."""

    model_config = strict()

    learning_rate: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)], ...],
        Field(min_length=2, max_length=100),
        BeforeValidator(as_tuple, json_schema_input_type=list[float]),
    ] = Field(description="the grid, at the reference batch size")
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, le=MAX_SEED)], ...],
        Field(min_length=1, max_length=MAX_SEEDS),
        BeforeValidator(_tuning_seeds, json_schema_input_type=int | list[int]),
    ] = Field(description="a number of seeds (from 1,000,000 on), or a list")
    rule: Literal["final"] = Field(
        default="final", description="lowest mean final validation error or loss"
    )
    on: Annotated[Choice, OneOf(NORMS)] | None = Field(
        default=None,
        description="the norm on which the rate is chosen, for all norms alike; default: each "
        "norm's own is chosen on itself",
    )
    widen: int = Field(
        default=0,
        ge=0,
        le=6,
        description="how often a grid whose best rate is its lowest or highest gets one more "
        "there, three times as far out",
    )
    stable_within: float = Field(
        default=0.02,
        ge=0,
        allow_inf_nan=False,
        description="a rate is stable if no run diverged and its mean is this close to the best",
    )

    @field_validator("learning_rate", "seeds")
    @classmethod
    def _no_duplicates(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        return unique(value)

    @model_serializer(mode="wrap")
    def _without_late(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What came later is written only where it is set: it changes no earlier protocol."""
        late = {"on": None, "widen": 0}
        return {k: v for k, v in handler(self).items() if k not in late or v != late[k]}


class Header(Endpoint):
    """The table ``[protocol]``: what holds for the whole study."""

    name: StudyName | None = Field(
        default=None, description="of the study and its folder; default: the file's name"
    )
    title: str = Field(default="", max_length=500)
    description: str = Field(default="", max_length=20_000)
    alpha: float = Field(default=0.05, gt=0, lt=0.5, description="two-sided error rate")


class ExperimentTable(FixedAxes, Endpoint):  # type: ignore[misc]
    """One table ``[[experiment]]``: axes with one value, axes to cross and axes to zip."""

    name: Slug = Field(description="unique within the protocol")
    title: str = Field(default="", max_length=500)
    tune: Tune | None = None
    product: ProductAxes = Field(default_factory=ProductAxes)
    zip: ZippedAxes = Field(default_factory=ZippedAxes)
