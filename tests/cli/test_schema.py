"""``normbench schema``: the JSON Schema of protocol files."""

from __future__ import annotations

import json


def test_it_prints_a_json_schema_that_names_axes_and_components(cli):
    said = cli("schema")
    assert said.status == 0
    schema = json.loads(said.out)
    assert schema["title"] == "normbench protocol"
    assert {"protocol", "defaults", "experiment"} <= set(schema["properties"])
    text = json.dumps(schema)
    for word in ("batch_size", "learning_rate", '"layer"', '"mlp"', '"digits"', "thresholds"):
        assert word in text
    for reference in _references(schema):
        assert reference.removeprefix("#/$defs/") in schema["$defs"]


def _references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
