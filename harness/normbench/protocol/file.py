"""The whole protocol file: header, defaults, experiments, families and claims."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from normbench.protocol.claims import Claim, Family
from normbench.protocol.schema import Experiment, FixedAxes, Header, as_tuple, strict


class ProtocolFile(BaseModel):
    """A whole protocol file."""

    model_config = strict()

    protocol: Header = Field(default_factory=Header)
    defaults: FixedAxes = Field(default_factory=FixedAxes)
    experiment: Annotated[
        tuple[Experiment, ...],
        Field(min_length=1, max_length=1000),
        BeforeValidator(as_tuple, json_schema_input_type=list[Experiment]),
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
