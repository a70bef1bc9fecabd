"""Values of an axis that name a component of the catalogue and may set its parameters.

``norm = "group"`` and ``norm = { name = "group", groups = 4 }`` are both accepted; either is
resolved to the component's name with **all** its parameters, so that a stored protocol says
explicitly what ran and keeps its meaning if a default ever changes.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    create_model,
    model_serializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from normbench.catalog import Catalog, Entry, Param
from normbench.catalog.args import Args, Names
from normbench.place import told


class Choice(BaseModel):
    """A component by name, with all its parameters explicit."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, defer_build=True)

    name: str

    #: Parameters that are written only where they differ from their defaults.
    late: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_late(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {k: v for k, v in handler(self).items() if k not in self._unwritten()}

    def _unwritten(self) -> frozenset[str]:
        fields = type(self).model_fields
        return frozenset(k for k in self.late if getattr(self, k) == fields[k].default)

    def __str__(self) -> str:
        return self.label

    @property
    def params(self) -> dict[str, Any]:
        """The parameters alone, in the catalogue's order."""
        return {k: v for k, v in self if k != "name" and k not in self._unwritten()}

    @property
    def parts(self) -> tuple[str, dict[str, str]]:
        """What the component is called, and as texts those parameters that are not defaults.

        What a target gives is called after the target.
        """
        fields, name, texts = type(self).model_fields, self.name, dict[str, str]()
        for key, value in self.params.items():
            if key in fields and value == fields[key].default:
                continue
            if key == "target":
                name = str(value)
            else:
                texts |= value.shown if isinstance(value, Args) else {key: str(value)}
        return name, texts

    @property
    def label(self) -> str:
        """A short unambiguous name: its parts."""
        name, texts = self.parts
        inside = ", ".join(f"{key}={text}" for key, text in texts.items())
        return f"{name}({inside})" if inside else name


class Absent(Choice):
    """A component of stored results that is not installed here, with what is known of it."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)
    _label: str = PrivateAttr("")

    def named(self, label: str | None) -> None:
        """Take over the label by which the stored tables call it."""
        self._label = label or ""

    @property
    def label(self) -> str:
        """The stored label, or the name with all parameters: which are defaults is not known."""
        return self._label or super().label


def _written(value: Any, handler: Any, info: Any) -> Any:
    """A component as plain data; one that is not installed here is of no known type."""
    return value.model_dump(mode=info.mode) if isinstance(value, Absent) else handler(value)


@dataclass(frozen=True)
class Stored:
    """The validation context of stored results: they may name what is not installed here.

    ``labels`` gives, for a kind, a name and parameters as JSON, the label in the stored tables.
    """

    labels: Callable[[], Mapping[tuple[str, str, str], str]]

    def label(self, kind: str, choice: Choice) -> str | None:
        """What the stored tables call a component."""
        return self.labels().get((kind, choice.name, json.dumps(choice.params, sort_keys=True)))


def _field(param: Param) -> tuple[Any, Any]:
    limits = {"gt": param.above, "ge": param.at_least, "le": param.at_most}
    limits = {k: v for k, v in limits.items() if v is not None}
    kind: Any = Literal[param.choices] if param.choices else type(param.default)
    if isinstance(param.default, Args | Names):
        kind = type(param.default)
    elif param.check is not None:
        kind = Annotated[kind, AfterValidator(param.check)]
        limits["validate_default"] = True
    if kind is float:
        limits["allow_inf_nan"] = False
    return kind, Field(default=param.default, description=param.doc, **limits)  # type: ignore[call-overload]


@cache
def choice_models(catalog: Catalog) -> dict[str, type[Choice]]:
    """One model per component of the catalogue, with its parameters as validated fields."""
    models = {}
    for name, entry in list(catalog.items()):
        if catalog.built_in(name):
            models[name] = _model(catalog.kind, name, entry)
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # such as for a name that hides one of the model's
                models[name] = _model(catalog.kind, name, entry)
                TypeAdapter(models[name]).validate_python({"name": name})
        except Exception as error:
            catalog.reject(name, told(error))
    return models


def _model(kind: str, name: str, entry: Entry) -> type[Choice]:
    fields: dict[str, Any] = {"name": (Literal[name], ...)}
    for key, param in entry.params.items():
        if hasattr(Choice, key) or key == "name":
            raise ValueError(f"{key!r} is no name for a parameter: it is taken")
        fields[key] = _field(param)
    title = f"{kind.title().replace(' ', '')}_{re.sub(r'[^A-Za-z0-9_]', '_', name)}"
    model = create_model(title, __base__=Choice, __doc__=entry.summary, **fields)
    model.late = frozenset(key for key, param in entry.params.items() if param.late)
    return model


@dataclass(frozen=True)
class OneOf:
    """Annotation of a field that holds a component of ``catalog``."""

    catalog: Catalog

    def __hash__(self) -> int:
        return id(self.catalog)

    def _spell_out(self, value: Any) -> Any:
        if isinstance(value, Absent):
            return value
        table = self._table(value)
        head, colon, rest = str(table["name"]).partition(":")
        known = self.catalog[head].params if colon and head in self.catalog else {}
        if "source" in known and table["name"] not in self.catalog:  # hf:owner/name@COMMIT
            return {**table, "name": head, "source": rest}
        return table

    def _table(self, value: Any) -> dict[str, Any]:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict):
            if "name" not in value:
                raise ValueError(f"a table that chooses a {self.catalog.kind} needs the key 'name'")
            return value
        raise ValueError(f"a {self.catalog.kind} is a name or a table with the key 'name'")

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        members = {n: handler.generate_schema(m) for n, m in choice_models(self.catalog).items()}
        union = core_schema.tagged_union_schema(members, discriminator="name")
        known = core_schema.with_info_wrap_validator_function(self._or_absent, union)
        written = core_schema.wrap_serializer_function_ser_schema(_written, info_arg=True)
        return core_schema.no_info_before_validator_function(
            self._spell_out, known, serialization=written
        )

    def _or_absent(
        self, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        """In stored results, a component that is not installed here, or another version of it."""
        if isinstance(value, Absent):
            return value
        name = value.get("name") if isinstance(value, dict) else None
        stored = isinstance(info.context, Stored) and isinstance(name, str)
        if not stored or (name in self.catalog and self.catalog.built_in(str(name))):
            return handler(value)
        try:
            return handler(value)
        except ValidationError:
            found = Absent(**value)
            found.named(info.context.label(self.catalog.kind, found))  # type: ignore[union-attr]
            return found

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        names = {"enum": list(self.catalog), "description": f"a {self.catalog.kind} by name"}
        return {"anyOf": [names, handler(schema)]}


@dataclass(frozen=True)
class NameIn:
    """Annotation of a text that is the name of a component of ``catalog``, without parameters."""

    catalog: Catalog

    def __hash__(self) -> int:
        return id(self.catalog)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        known = core_schema.literal_schema(list(self.catalog))
        return core_schema.with_info_wrap_validator_function(self._or_absent, known)

    def _or_absent(
        self, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        if isinstance(info.context, Stored) and isinstance(value, str):
            return value
        return handler(value)
