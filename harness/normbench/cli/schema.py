"""``normbench schema``."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of protocol files, so that editors complete and check them."""
    from normbench.protocol.file import ProtocolFile

    content = ProtocolFile.model_json_schema(mode="validation")
    content["title"] = "normbench protocol"
    typer.echo(json.dumps(content, indent=1))
