"""The whole protocol file: header, defaults, experiments, families and claims."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from normbench.protocol.claims import Claim, Family
from normbench.protocol.schema import as_tuple, strict
from normbench.protocol.tables import ExperimentTable, FixedAxes, Header


class ProtocolFile(BaseModel):
    """A whole protocol file."""

    model_config = strict()

    protocol: Header = Field(default_factory=Header)
    defaults: FixedAxes = Field(default_factory=FixedAxes)
    experiment: Annotated[
        tuple[ExperimentTable, ...],
        Field(min_length=1, max_length=1000),
        BeforeValidator(as_tuple, json_schema_input_type=list[ExperimentTable]),
    ]
    family: Annotated[
        tuple[Family, ...],
        Field(max_length=100),
        BeforeValidator(as_tuple, json_schema_input_type=list[Family]),
    ] = ()
    claim: Annotated[
        tuple[Claim, ...],
        Field(max_length=1000),
        BeforeValidator(as_tuple, json_schema_input_type=list[Claim]),
    ] = ()
