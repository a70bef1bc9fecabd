"""The JSON Schema of protocol files: what editors check must be what normbench accepts."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from normbench.protocol.file import ProtocolFile
from normbench.protocol.load import bundled_protocols
from tests.builders import document, experiment

SCHEMA = ProtocolFile.model_json_schema(mode="validation")
KINDS: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
    "integer": int, "number": (int, float),
}  # fmt: skip
UNDERSTOOD = {
    "$ref", "$defs", "type", "enum", "const", "anyOf", "oneOf", "properties", "required", "items",
    "additionalProperties", "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "maxLength", "pattern", "title", "description", "default",
    "discriminator",
}  # fmt: skip


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Whether a value fits a schema, for the words of JSON Schema that pydantic uses here."""
    assert set(schema) <= UNDERSTOOD, set(schema) - UNDERSTOOD
    if "$ref" in schema:
        return accepts(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], value)
    if "anyOf" in schema and not any(accepts(s, value) for s in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(accepts(s, value) for s in schema["oneOf"]) != 1:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    kind = schema.get("type")
    if kind is not None:
        number_as_bool = isinstance(value, bool) and kind != "boolean"
        if number_as_bool or not isinstance(value, KINDS[kind]):
            return False
    if isinstance(value, dict):
        return _table_fits(schema, value)
    if isinstance(value, list):
        longest = schema.get("maxItems", len(value))
        in_range = schema.get("minItems", 0) <= len(value) <= longest
        return in_range and all(accepts(schema.get("items", {}), item) for item in value)
    if isinstance(value, str):
        fits = re.search(schema.get("pattern", ""), value) is not None
        return fits and len(value) <= schema.get("maxLength", len(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (
            value >= schema.get("minimum", value)
            and value <= schema.get("maximum", value)
            and not value <= schema.get("exclusiveMinimum", value - 1)
            and not value >= schema.get("exclusiveMaximum", value + 1)
        )
    return True


def _table_fits(schema: dict[str, Any], value: dict[str, Any]) -> bool:
    properties = schema.get("properties", {})
    if not set(schema.get("required", ())) <= set(value):
        return False
    if schema.get("additionalProperties") is False and not set(value) <= set(properties):
        return False
    return all(accepts(properties[k], v) for k, v in value.items() if k in properties)


@pytest.mark.parametrize("name", sorted(bundled_protocols()))
def test_the_schema_accepts_the_bundled_protocols(name: str) -> None:
    assert accepts(SCHEMA, tomllib.loads(bundled_protocols()[name].read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "good",
    [
        document(),
        document(seeds=[1, 5]),
        document(thresholds=0.5),
        document(experiment(sites=["fc1"], train_size=40, optimizer={"name": "sgd"})),
        document(experiment(zip={"batch_size": [1, 2], "norm": ["none", {"name": "batch"}]})),
        document(experiment(product={"sites": ["all", ["fc2"]], "train_size": [40, 50]})),
    ],
)
def test_the_schema_accepts_what_is_valid(good: dict[str, Any]) -> None:
    ProtocolFile.model_validate(good)
    assert accepts(SCHEMA, good)


@pytest.mark.parametrize(
    "bad",
    [
        {"protocol": {"seeds": 1}},
        document(seed=3),
        document(alpha=0.7),
        document(experiment(norm="bath")),
        document(experiment(norm={"name": "none", "eps": 1e-5})),
        document(experiment(norm={"name": "group", "groups": "4"})),
        document(experiment(norm={"eps": 1e-5})),
        document(experiment(batch_size=0)),
        document(experiment(epochs=True)),
        document(experiment(name="A B")),
        document(experiment(sites="some")),
        document(experiment(product={"norm": "batch"})),
        document(experiment(product={"norm": []})),
        document(experiment(zip={"epoch": [1]})),
    ],
)
def test_the_schema_refuses_what_is_invalid(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        ProtocolFile.model_validate(bad)
    assert not accepts(SCHEMA, bad)


def test_every_key_of_the_schema_that_is_an_axis_is_described() -> None:
    axes = SCHEMA["$defs"]["FixedAxes"]["properties"]
    bare = {name for name, value in axes.items() if not value.get("description")}
    assert bare <= {
        "evaluations_per_epoch", "validation_fraction", "test_fraction",
    }  # fmt: skip


def test_the_standard_validator_agrees() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for path in bundled_protocols().values():
        validator.validate(tomllib.loads(path.read_text(encoding="utf-8")))
