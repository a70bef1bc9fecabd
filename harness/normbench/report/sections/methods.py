"""Methods, written from the protocol: design, statistics, deviations, and how to do it again."""

from __future__ import annotations

import json
import shlex
from typing import Any

from normbench.protocol.study import Study
from normbench.report import words
from normbench.report.blocks import Block, CodeBlock, Column, Items, Section, Table, Text, Value
from normbench.report.pooled import pooled_notes
from normbench.report.sections import design, packages
from normbench.report.sections.dictionary import data_dictionary, saved_tables
from normbench.report.source import Source
from normbench.stats.automatic import LEAST_SEEDS


def _splits(study: Study) -> str:
    cells = [cell for e in study.experiments for cell in e.cells]
    parts = {(c.validation_fraction, c.test_fraction, c.split_seed) for c in cells}
    said = [
        f"{100 * v:g} % to validate and {100 * t:g} % to test (split seed {s})"
        for v, t, s in sorted(parts)
    ]
    return (
        f"The data are split once for all runs, by class: {words.listed(said, 'or')}, the rest to "
        "train on. Inputs are scaled with constants of the training split alone."
    )


def _endpoints(source: Source) -> list[tuple[str, str]]:
    windows = sorted({e.window for e in source.study.experiments})
    span = words.listed([str(w) for w in windows], "or")
    read = "validation error (or loss) at the last evaluation" if windows == [1] else (
        f"mean validation error (or loss) over the last {span} evaluations")  # fmt: skip
    return [
        ("Final error", f"{read}; a diverged run counts with the value of chance, and so does a "
         "worse one."),
        ("Time to threshold", "the first crossing of the running mean over the same window, "
         "interpolated between evaluations and restricted to the budget: a run that never gets "
         "there, or diverges before, counts with all of it."),
        ("Degradation", "per seed, the difference to the reference is fitted against one over the "
         "batch size; reported is the fitted rise from the largest to the smallest batch."),
        ("Crossover", "worse up to a batch size: decided pair by pair from the smallest size "
         "upwards. Within a declared margin from a batch size on: a fixed sequence of one-sided "
         "tests from the largest size downwards, once the degradation is decided."),
    ]  # fmt: skip


def _tests(source: Source) -> list[tuple[str, str]]:
    alpha = f"{source.alpha:g}"
    return [
        ("Unit", "the seed: it decides the initial weights and the order of the data and is shared "
         "by all configurations, so that differences are taken within it."),
        ("Test", "the exact sign-flip test of paired differences (Pagano and Tritchler 1983), "
         "two-sided unless a claim says otherwise; it assumes that the differences are symmetric "
         "about the null value, which labels exchangeable within a seed imply."),
        ("Interval", "the inversion of that test (Hartigan 1969); where the differences are skewed "
         "it is widened by a bootstrap-t interval and a finding needs both."),
        ("Families", "claims of a family are corrected together by step-down max-T with joint "
         "sign flips (Westfall and Young 1993), or by Holm where max-T does not apply. "
         f"{_families_said(source)} All other p-values are of single comparisons and say so."),
        ("Without a claim", f"what the page says of an experiment by itself has the rate {alpha} "
         "in all: half of it for all pairs of norms at all batch sizes, a quarter for the "
         "degradation of all norms, each corrected by max-T, and a quarter, shared by the norms, "
         "for the sequences over batch sizes; several settings share it evenly. A norm may be best "
         "where it is not decidedly worse than any other. Below "
         f"{LEAST_SEEDS} seeds nothing is decided by itself."),
        ("Equivalence", "two one-sided tests against a margin declared beforehand (Schuirmann "
         "1987; Berger 1982): no significant difference is never taken for equality."),
        ("Divergence", "counted beside every mean, with Clopper and Pearson intervals; below 20 "
         "seeds any diverged run marks a claim fragile. Below 6 seeds nothing is tested."),
        ("Level", f"α = {alpha} for each family; intervals at {100 * (1 - source.alpha):g} %."),
    ]  # fmt: skip


def _families_said(source: Source) -> str:
    """How many families there are in the whole study."""
    claims = len(source.study.families) if len(source.analysis["claims"]) else 0
    alone = source.analysis["pairs"]["experiment"].nunique()
    return (
        f"This study has {words.plural(claims, 'family of claims', 'families of claims')} and "
        f"{words.plural(alone, 'experiment')} of which something is said without a claim, each "
        f"with the rate {source.alpha:g}."
    )


def _families(source: Source) -> Table | None:
    claims = source.analysis["claims"]
    if claims.empty:
        return None
    rows = []
    for family in source.study.families:
        own = claims[claims["family"] == family.id]
        names = list(dict.fromkeys(own["claim"]))
        used = words.listed(dict.fromkeys(own["method"]))
        rows.append([Value(family.id), Value(used or family.method), words.count(len(own)),
                     Value(", ".join(names))])  # fmt: skip
    columns = [Column("family"), Column("correction"), Column("hypotheses", number=True),
               Column("claims")]  # fmt: skip
    return Table("methods-families", "Families of claims", columns, rows)


def _invocations(source: Source) -> list[dict[str, Any]]:
    return list(source.results.provenance.get("invocations", []))


def deviations(source: Source) -> list[str]:
    """Where what was done departs from the protocol, or from one machine and one version."""
    found, runs = [], source.results.runs
    claims = source.analysis["claims"]
    changed = list(dict.fromkeys(claims.loc[claims["exploratory"].astype(bool), "claim"]))
    if changed:
        found.append(f"Exploratory, as not registered like this before the first run, or with a "
                     f"cell missing: {words.listed(changed)}.")  # fmt: skip
    found += [f"{line}." for line in source.results.deviations.lines]
    overrides = dict.fromkeys(o for i in _invocations(source) for o in i.get("overrides", []))
    if overrides:
        found.append(f"Values of the protocol that a command changed: {words.listed(overrides)}.")
    lost = int(runs["status"].isin(["failed", "missing"]).sum())
    if lost:
        found.append(f"{words.plural(lost, 'run')} of the protocol failed or are missing; seeds "
                     "that lack one are left out where they are compared.")  # fmt: skip
    kept = int((~source.results.all_runs["planned"].astype(bool)).sum())
    if kept:
        found.append(f"{words.plural(kept, 'stored run')} that the present protocol no longer asks "
                     "for are not used.")  # fmt: skip
    found += _of_the_data(source)
    found += packages.deviations(source.results)
    used = set(runs["execution_hash"].dropna().astype(str))
    machines = {source.results.environments.get(h, h) for h in used}
    if len(machines) > 1:
        found.append(f"The runs come from {len(machines)} environments (machine, device or "
                     "versions); runs are paired only within one.")  # fmt: skip
    if any(i.get("git_changed") for i in _invocations(source)):
        found.append("The code had changes that were not committed.")
    return found or ["There are none: every planned run was made as declared, in one environment."]


def _of_the_data(source: Source) -> list[str]:
    """Runs that rest on other data than the rest, and data of which only a key was recorded."""
    found, planned = [], set(source.results.runs["run_hash"])
    for name, record in source.results.contents.items():
        label = json.loads(name)["name"]
        earlier = len(record.earlier & planned)
        if earlier:
            found.append(f"The data set {label} has changed, and {words.plural(earlier, 'run')} "
                         "of it were computed from the earlier data.")  # fmt: skip
        if record.key_until or not record.content.sha256:
            until = f" until {record.key_until}" if record.key_until else ""
            found.append(
                f"Of the data set {label} names and sizes at most, not the content, were "
                f"recorded{until}: a change of it before would not be known."
            )
    return found


def _provenance(source: Source) -> Table | None:
    rows = []
    for i in _invocations(source)[-10:]:
        versions = ", ".join(f"{n} {v}" for n, v in i.get("versions", {}).items() if v)
        machine = f"{i.get('cpu', '?')}, {i.get('cores', '?')} cores, {i.get('platform', '?')}"
        code = i.get("git_commit") or "not under version control"
        changed = " with uncommitted changes" if i.get("git_changed") else ""
        rows.append(
            [
                Value(str(i.get("started", "?"))),
                Value(shlex.join(map(str, i.get("command", ())))),
                words.count(float(i.get("computed", "nan"))),
                Value(f"{machine}; {i.get('device', '?')}, {i.get('workers', '?')} workers"),
                Value(f"Python {i.get('python', '?')}, {versions}"), Value(f"{code}{changed}"),
            ]
        )  # fmt: skip
    if not rows:
        return None
    columns = [Column("started"), Column("command"), Column("runs computed", number=True),
               Column("machine"), Column("versions"), Column("code")]  # fmt: skip
    total = len(_invocations(source))
    caption = "Provenance: the commands that made these results"
    if total > len(rows):
        caption += f" (the last {len(rows)} of {total})"
    return Table("methods-provenance", caption, columns, rows)


def _reproduce(source: Source) -> list[Block]:
    known = _invocations(source)
    versions = known[-1].get("versions", {}) if known else {}
    commit = known[-1].get("git_commit") if known else None
    name = source.results.folder.name
    overrides = dict.fromkeys(o for i in known for o in i.get("overrides", []))
    extra = "".join(f" --set {shlex.quote(o)}" for o in overrides)
    folder = shlex.quote(f"results/{name}")
    steps = [f"git checkout {shlex.quote(str(commit))}"] if commit else []
    pinned = [f"{p}=={v}" for p, v in versions.items() if v and p != "normbench"]
    pinned += packages.packages_to_install(source.results)
    steps += [f"pip install {' '.join(map(shlex.quote, pinned))}"] if pinned else []
    steps += [
        "pip install .",
        f"normbench run {folder}/protocol.toml --results results/again"
        f" --execution {folder}/execution.json{extra}",
    ]
    if not source.results.timings.empty:
        steps.append("normbench time results/again")
    steps += ["normbench report results/again", f"normbench report {folder} results/again"]
    return [
        Text(
            [
                "The results folder holds the protocol as it was read, the execution plan and all "
                "tables. With the same versions on the same kind of machine these commands give "
                "the same numbers, times and memory aside; the last one compares both."
            ]
        ),
        CodeBlock("\n".join(steps), title="How to reproduce, command by command"),
    ]


def _citation(source: Source) -> CodeBlock:
    known = _invocations(source)
    version = known[-1].get("versions", {}).get("normbench") if known else None
    commit = (
        f", commit {known[-1]['git_commit'][:12]}" if known and known[-1].get("git_commit") else ""
    )
    text = (
        "@software{normbench,\n  title   = {normbench: a benchmark of normalization layers},\n"
        f"  version = {{{version or 'unknown'}}},\n"
        f"  note    = {{protocol {source.study.name}{commit}}}\n}}"
    )
    return CodeBlock(text, title="Citation")


def section(source: Source) -> Section:
    """How all of this was done."""
    families, provenance = _families(source), _provenance(source)
    statistics: list[Block] = [Items(_tests(source)), Items(_endpoints(source), title="Endpoints")]
    pooled = [("Pooled threshold", note) for note in pooled_notes(source.results)]
    statistics += [Items(pooled, title="Where pooled thresholds come from")] if pooled else []
    statistics += [families] if families is not None else []
    origin: list[Block] = [provenance] if provenance is not None else [
        Text(["The folder holds no record of the commands that made these results."])]  # fmt: skip
    code = packages.code_table(source)
    origin += [code] if code is not None else []
    if source.results.older:
        origin.append(Text([source.results.older]))
    imported = source.results.imported
    plan: list[Block] = [Text([_splits(source.study)]), design.experiments(source),
                         design.settings(source)]  # fmt: skip
    again = _reproduce(source)
    if imported:  # what is not in the file of runs is not known: nothing is said of it
        plan = [Text([f"{words.capital(one)}: neither networks, data, learning rates nor whether "
                      "equal seeds share anything. Differences are taken within equal seeds, which "
                      "holds for seeds that share nothing, too." for one in imported])]  # fmt: skip
        again = []
    return Section(
        "methods",
        "Methods",
        [],
        [
            Section("methods-plan", "Design", plan),
            Section("methods-statistics", "Endpoints, tests and families", statistics),
            Section("methods-deviations", "Deviations", [Items(deviations(source))]),
            Section("methods-provenance-part", "Provenance", origin),
            Section("methods-again", "Reproduction and citation",
                    [*again, _citation(source)]),
            Section("methods-data", "Data", [saved_tables(source), data_dictionary()]),
        ],
    )  # fmt: skip
