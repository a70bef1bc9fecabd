"""How the tests of the protocol look at faults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from normbench.errors import Fault, ProtocolError
from normbench.protocol.load import load_protocol, parse

Faults = Callable[[dict[str, Any]], dict[str, Fault]]


@pytest.fixture
def faults() -> Faults:
    """The faults of a document by their TOML path; fails where there are none."""

    def find(document: dict[str, Any]) -> dict[str, Fault]:
        with pytest.raises(ProtocolError) as caught:
            parse(document, "bad.toml", "bad")
        assert caught.value.exit_status == 2
        assert all(str(fault) in str(caught.value) for fault in caught.value.faults)
        return {fault.path: fault for fault in caught.value.faults}

    return find


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[bytes], str]:
    """What is said about a file of these bytes; fails where it is accepted."""

    def say(content: bytes) -> str:
        path = tmp_path / "bad.toml"
        path.write_bytes(content)
        with pytest.raises(ProtocolError) as caught:
            load_protocol(path)
        return str(caught.value)

    return say
