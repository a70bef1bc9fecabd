"""``normbench schema``."""

from __future__ import annotations

import json

from normbench.streams import say


def schema() -> None:
    """Print the JSON Schema of protocol files, so that editors complete and check them."""
    from normbench.protocol.file import ProtocolFile

    content = ProtocolFile.model_json_schema(mode="validation")
    content["title"] = "normbench protocol"
    say(json.dumps(content, indent=1))
