"""Data sets by their names or by a protocol: what there is, whether it is here, and its digest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normbench.catalog import DATASETS, nearest
from normbench.catalog.target import use_root
from normbench.datasets.about import About, about
from normbench.datasets.base import Arrays
from normbench.datasets.content import Content, content_of, name_of
from normbench.datasets.unpack import changed
from normbench.errors import DataMissingError, NormbenchError, UsageError
from normbench.protocol.choice import Choice
from normbench.protocol.load import apply_override, parse
from normbench.protocol.schema import Cell
from normbench.protocol.study import Study
from normbench.results.contents import read_contents

#: Digests of data that every machine has, by name, with their usual parameters: a library that
#: gives others has changed them, or is damaged.
KNOWN = {
    "diabetes": "6c8a79d1169c2908d51e2583d12e0562f870d8e07f6d2f73e9c340e402775e49",
    "digits": "fda8ccfae9513b98049bebf1c604675189778a0e9307d84318bccfff231980bd",
    "digits-pixels": "0f3f5f2cd3af900f8f62c9907d4b8f39cf29341fbfffdf17a1d58f6d690e7db2",
    "mnist-5000": "2c8ecfcb97a952f7f101ff6d660764ced1dab5a571edfd43102fb71079a457e2",
    "digits-rows": "28e2479194b0f2b7f4369330353d0854194869738b8afc5a9fe9d128bb258545",
}


@dataclass(frozen=True)
class Listed:
    """A data set of the catalogue: what it is, and why it is not here (None: it is)."""

    name: str
    summary: str
    about: About
    missing: str | None


def listed() -> Iterator[Listed]:
    """Every data set with its usual parameters; one that is the user's own is called ``yours``."""
    for name, entry in DATASETS.items():
        if name not in DATASETS.complete:
            yield Listed(name, entry.summary, About(), "yours")
            continue
        params = {key: param.default for key, param in entry.params.items()}
        try:
            dataset = entry.load()
            missing = dataset.missing(params)
            found = about(dataset, params)
        except NormbenchError as error:
            missing, found = str(error), About()
        yield Listed(name, entry.summary, found, missing)


def chosen(source: str, settings: Sequence[str] = ()) -> list[Choice]:
    """The data set of a name, with settings such as ``path=photos``; or those of a study's cells.

    Raises :class:`UsageError` for what is neither, or what only a protocol can name.
    """
    if source not in DATASETS:
        close = nearest(source, DATASETS)
        hint = f"did you mean {close!r}? " if close else ""
        raise UsageError(
            f"there is no data set and no protocol {source!r}; {hint}known: {', '.join(DATASETS)}"
        )
    if source not in DATASETS.complete:
        raise UsageError(
            f"the data set {source} is what code of yours gives; likely fix: name the protocol "
            "that has its target"
        )
    table: dict[str, Any] = {}
    for one in settings:
        if "=" not in one:
            raise UsageError(f"--set takes key=value, such as path=photos; received {one!r}")
        key, _, value = one.partition("=")
        if key.strip() not in DATASETS[source].params:
            known = ", ".join(DATASETS[source].params) or "none"
            raise UsageError(f"the data set {source} has no parameter {key!r}; it has {known}")
        apply_override(table, f"dataset.{key.strip()}={value}")
    return [_choice({"name": source, **table.get("dataset", {})})]


_ANY = {
    "name": "any", "model": "mlp", "norm": "none", "batch_size": 1, "learning_rate": 1.0,
    "epochs": 1,
}  # fmt: skip


def of_study(study: Study) -> list[Choice]:
    """The data sets of a study, each once; its files and targets are found from now on."""
    use_root(study.root)
    cells: list[Cell] = [cell for series in study.experiments for cell in series.cells]
    return list(dict.fromkeys(cell.dataset for cell in cells))


def loaded(choice: Choice) -> Arrays:
    """The data of a choice; raises :class:`DataMissingError` where they are not here."""
    dataset = DATASETS[choice.name].load()
    missing = dataset.missing(choice.params)
    if missing:
        raise DataMissingError(f"the data set {choice.label} is not on this machine: {missing}")
    found: Arrays = dataset.load(choice.params)
    return found


def choices_of_results(folder: Path) -> tuple[list[Choice], dict[str, Content]]:
    """The data sets that results were made from, and their contents then, by :func:`name_of`.

    Those of code of the user's own are left out: a folder of results runs none.
    """
    recorded = {name: one.content for name, one in read_contents(folder).items()}
    choices = []
    for name in recorded:
        params = json.loads(name)
        if params["name"] in DATASETS.complete:
            choices.append(_choice(params))
    return choices, recorded


def files_changed(choice: Choice) -> tuple[int, dict[str, str]] | None:
    """Of a data set that was fetched: how many files it had, and which have changed, and why."""
    place = getattr(DATASETS[choice.name].load(), "place", None)
    folder = place(choice.params) if place is not None else None
    return None if folder is None else changed(folder)


def _choice(table: Mapping[str, Any]) -> Choice:
    document = {"experiment": [{**_ANY, "dataset": dict(table)}], "protocol": {"seeds": 1}}
    study = parse(document, f"the data set {table['name']}", "any")
    return study.experiments[0].cells[0].dataset


@dataclass(frozen=True)
class Verified:
    """Whether data are what was known of them; ``known`` is empty where nothing was."""

    label: str
    content: Content
    known: str
    by: str

    @property
    def same(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.known or self.known == self.content.sha256


def verified(
    choices: Sequence[Choice], recorded: Mapping[str, Content], load: Callable[[Choice], Arrays]
) -> Iterator[Verified]:
    """Each data set's content, beside what results were made from, or what all machines have."""
    for choice in choices:
        content = content_of(load(choice))
        name = name_of(choice.name, choice.params)
        usual = choice.label == choice.name
        known, by = recorded[name].sha256 if name in recorded else "", "the results folder"
        if not known and usual:
            known, by = KNOWN.get(choice.name, ""), "every machine"
        yield Verified(choice.label, content, known, by if known else "")


def is_protocol(source: str) -> bool:
    """Whether a text names a protocol's file, not a data set."""
    return source not in DATASETS and (source.endswith(".toml") or Path(source).is_file())
