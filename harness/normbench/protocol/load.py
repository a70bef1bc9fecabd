"""Reading a protocol file: TOML in, a resolved study or all of its faults out."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from normbench.catalog import nearest
from normbench.errors import ProtocolError, UsageError
from normbench.protocol.choice import Stored
from normbench.protocol.faults import faults_of, shown
from normbench.protocol.file import ProtocolFile
from normbench.protocol.further import further_faults
from normbench.protocol.names import study_name
from normbench.protocol.reading import document_of, read_text
from normbench.protocol.resolve import resolve
from normbench.protocol.schema import AXES, BUDGETS
from normbench.protocol.study import Study
from normbench.protocol.tables import Endpoint
from normbench.protocol.windows import Windows, shortens


def bundled_protocols() -> dict[str, Path]:
    """The protocols that ship with the package, by name."""
    inside = Path(str(files("normbench"))) / "_protocols"
    checkout = Path(__file__).resolve().parents[3] / "protocols"
    for folder in (inside, checkout):
        if folder.is_dir():
            return {p.stem: p for p in sorted(folder.glob("*.toml"))}
    return {}


def find(source: str | Path) -> Path:
    """The file that ``source`` means: a path, or the name of a bundled protocol.

    ``protocols/quick.toml`` finds the bundled file where that path does not exist.
    """
    path = Path(source)
    if path.is_dir():
        raise UsageError(
            f"a protocol is a TOML file; {path} is a folder; likely fix: name the file inside it"
        )
    if path.exists():
        return path
    bundled = bundled_protocols()
    if path.stem in bundled and path.parent in (Path(), Path("protocols")):
        return bundled[path.stem]
    near_by = [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
    close = nearest(path.name, [*near_by, *bundled])
    hint = f"; did you mean {close}?" if close else ""
    raise UsageError(
        f"there is no protocol {str(source)!r}{hint}\n"
        f"  bundled protocols, usable by name: {', '.join(bundled) or 'none'}"
    )


def read_protocol(source: str | Path) -> tuple[Path, str]:
    """The file that ``source`` means, and its text: read once, since a pipe has no second time."""
    path = find(source)
    return path, read_text(path)


def _value(text: str) -> Any:
    """A value as TOML writes it; what is no TOML value is taken as a text."""
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except (ValueError, RecursionError):
        return text


def _tables(value: Any) -> list[dict[str, Any]]:
    """The tables of what should be a list of tables."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _set_everywhere(document: dict[str, Any], key: str, value: Any) -> None:
    """Set an axis or an endpoint setting in all experiments, whatever they say themselves."""
    table = "defaults" if key in AXES else "protocol"
    settings = document.setdefault(table, {})
    if isinstance(settings, dict):  # anything else is a fault that validation names
        settings[key] = value
    others = set(BUDGETS) if key in BUDGETS else {key}
    if isinstance(settings, dict):
        for other in others - {key}:
            settings.pop(other, None)
    for experiment in _tables(document.get("experiment")):
        tables = [experiment, experiment.get("product"), experiment.get("zip")]
        for combined in (t for t in tables if isinstance(t, dict)):
            for other in others:
                combined.pop(other, None)


def apply_override(document: dict[str, Any], assignment: str) -> None:
    """Apply one ``key=value`` to a protocol document, in place.

    ``epochs=2`` (an axis or setting alone) holds for all experiments; ``protocol.alpha=0.01``,
    ``defaults.epochs=2`` and ``experiment.NAME.product.batch_size=[2, 8]`` name one place.
    """
    key, separator, text = assignment.partition("=")
    steps = [s.strip() for s in key.split(".")]
    if not separator or not all(steps):
        raise UsageError(f"--set takes key=value, such as epochs=2; received {assignment!r}")
    value = _value(text.strip())
    if len(steps) == 1:
        known = [*AXES, *Endpoint.model_fields]
        if steps[0] not in known:
            close = nearest(steps[0], known)
            hint = f"did you mean {close!r}?" if close else f"known: {', '.join(known)}"
            raise UsageError(f"--set {assignment}: unknown key {steps[0]!r}; {hint}")
        _set_everywhere(document, steps[0], value)
        return
    target: Any = document
    for i, step in enumerate(steps[:-1]):
        if i == 1 and steps[0] == "experiment":
            found = {e.get("name"): e for e in reversed(_tables(target))}
            if step not in found:
                raise UsageError(
                    f"--set {assignment}: there is no experiment {step!r}; "
                    f"the protocol has {', '.join(map(str, reversed(found)))}"
                )
            target = found[step]
        else:
            default: Any = [] if i == 0 and step == "experiment" else {}
            if not isinstance(target, dict):
                raise UsageError(f"--set {assignment}: {step!r} is not inside a table")
            target = target.setdefault(step, default)
    if not isinstance(target, dict):
        raise UsageError(f"--set {assignment}: {'.'.join(steps[:-1])} is not a table")
    if steps[0] == "experiment" and len(steps) == 3 and steps[-1] in AXES:
        for combined in ("product", "zip"):
            if isinstance(target.get(combined), dict):
                target[combined].pop(steps[-1], None)
    target[steps[-1]] = value


def parse(
    document: dict[str, Any],
    source: str,
    name: str,
    windows: Windows | None = None,
    context: Stored | None = None,
) -> Study:
    """Validate a protocol document; ``windows`` as in :func:`~normbench.protocol.study.resolve`.

    With ``context`` it may name components that are not installed here.

    Raises :class:`ProtocolError` with all faults at once, each with its path, value and rule.
    """
    try:
        file = ProtocolFile.model_validate(document, context=context)
    except ValidationError as error:
        found, more = faults_of(error, document)
        if not more:
            found += further_faults(error, document, name)
        first = {fault.path: fault for fault in reversed(found)}
        raise ProtocolError(source, list(first.values())[::-1], more) from None
    study, faults = resolve(file, name, document.get("claim", []), windows)
    if study is None:
        raise ProtocolError(source, faults)
    return study


def load_protocol(
    source: str | Path, overrides: Sequence[str] = (), seeds: int | None = None
) -> Study:
    """Read, override, validate and resolve a protocol.

    ``source`` is a file or the name of a bundled protocol, ``overrides`` are ``key=value``
    (see :func:`apply_override`) and ``seeds`` replaces the seeds of all experiments by
    0 … seeds − 1. Overrides that make runs shorter shorten windows: ``warnings`` of the study
    says which.
    """
    path = find(source)
    return load_text(read_text(path), path, overrides, seeds)


def load_text(
    text: str, path: Path, overrides: Sequence[str] = (), seeds: int | None = None
) -> Study:
    """See :func:`load_protocol`; ``text`` is what was read from ``path``, which is only named."""
    document = document_of(text, str(path))
    for assignment in overrides:
        apply_override(document, assignment)
    if seeds is not None:
        if seeds < 1:
            raise UsageError(f"--seeds must be at least 1; received {shown(seeds)}")
        _set_everywhere(document, "seeds", seeds)
    label = str(path) + (" (with overrides)" if overrides or seeds is not None else "")
    study = parse(document, label, study_name(path), Windows(shortens(overrides)))
    return study.model_copy(update={"file": str(path.absolute())})
