"""Files of trained weights: where they are, and which they are."""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from normbench.errors import UsageError

_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def checked_weights(text: str) -> str:
    """The name of a file of weights as it is written; ``ValueError`` says what is wrong."""
    if text and not text.endswith(_SUFFIXES):
        raise ValueError(
            f"weights are a file of {', '.join(_SUFFIXES)}, as safetensors or torch.save of a "
            f"state_dict make it; received {text!r}"
        )
    if text and (PurePosixPath(text).is_absolute() or "\\" in text):
        raise ValueError(
            f"the file of weights is written relative to the protocol, with /; received {text!r}"
        )
    return text


def weights_file(text: str, root: str) -> Path:
    """A file of weights beside the protocol; :class:`UsageError` where it is not there."""
    path = Path(root, text)
    if not root or not path.is_file():
        raise UsageError(
            f"the weights {text} need the file {path}, which is not there; likely fix: write its "
            "name relative to the folder of the protocol"
        )
    return path


_known: dict[tuple[str, int, int, int], str] = {}


def weights_digest(path: Path) -> str:
    """The SHA-256 of a file's content: read again where its size, time or place changed."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    if key not in _known:
        with path.open("rb") as file:
            _known[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _known[key]
