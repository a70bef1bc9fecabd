"""A made-up page with everything that a report may hold: no results, no training."""

from __future__ import annotations

import numpy as np

from normbench.figures.render import colours, markers, styled, to_svg
from normbench.report.blocks import (
    CodeBlock,
    Column,
    Figure,
    Items,
    Page,
    Section,
    Table,
    Text,
    Value,
)

NORMS = ("none", "batch", "layer", "group", "instance", "weight")
SIZES = (1, 2, 4, 8, 32, 128)
VERDICTS = ("supported", "refuted", "equivalent", "inconclusive", "undecided", "void")
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    'viewBox="0 0 300 150"><defs><path id="dot" d="M0 0h9v9z"/></defs>'
    '<use xlink:href="#dot" x="20" y="20"/><text x="30" y="40">made up</text></svg>'
)


def drawn(panels: int, label: str, height: float = 2.6) -> str:
    """A figure in the reports' style: a line per norm over batch sizes, some panels."""
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(panels)
    colour, marker = colours(NORMS), markers(NORMS)
    with styled():
        figure, axes = plt.subplots(
            1, panels, figsize=(3.3 * panels + 0.5, height), sharey=True, squeeze=False
        )
        for axis, dataset in zip(axes.flat, ("digits", "wine", "blobs"), strict=False):
            for i, norm in enumerate(NORMS):
                line = 0.04 + 0.01 * i + 0.2 / (1 + np.arange(len(SIZES))) * (i == 1)
                place = np.arange(len(SIZES)) + 0.08 * (i - 2.5)
                axis.plot(place, line, color=colour[norm], marker=marker[norm], label=norm)
                seeds = line[:, None] + 0.01 * rng.standard_normal((len(SIZES), 8))
                axis.plot(place, seeds, ".", color=colour[norm], alpha=0.4, markersize=3)
            axis.set_xticks(np.arange(len(SIZES)), [str(s) for s in SIZES])
            axis.set_title(dataset)
            axis.set_xlabel("batch size")
        axes.flat[0].set_ylabel("final validation error")
        handles, labels = axes.flat[0].get_legend_handles_labels()
        columns = 3 if panels == 1 else 6
        figure.legend(handles, labels, loc="lower center", ncols=columns,
                      bbox_to_anchor=(0.5, 1.0))  # fmt: skip
        figure.tight_layout()
    return to_svg(figure, label)


def claims() -> Table:
    columns = [
        Column("claim", doc="The name of the claim in the protocol."),
        Column("verdict", doc="What the data say of the claim, by the rule registered before."),
        Column("what was found"),
        Column("effect", number=True, doc="Difference of the final errors in points."),
        Column("95 % interval", number=True),
        Column("seeds", number=True),
        Column("what the chapter says"),
    ]
    found = (
        "Batch norm loses 4.0 points more than layer norm when the batch shrinks from 128 to 2.",
        "The time to 90 % accuracy is not shorter with batch norm than without.",
    )
    rows = [
        [
            Value(f"claim-{i + 1}", link="small-batches" if i < 3 else "speed"),
            Value(verdict, mark=verdict),
            Value(found[i % 2]),
            Value(f"{'+' if i % 2 else '−'}{i + 0.4:.1f}", sort=(i + 0.4) * (1 if i % 2 else -1)),
            Value(f"{i - 0.3:+.1f} to {i + 1.1:+.1f}", sort=i - 0.3),
            Value(str(10 + i), sort=10 + i, hint="" if i else "Two seeds lack a run of the pair."),
            Value("“Normalization over the batch suffers when batches are small.”"),
        ]
        for i, verdict in enumerate(VERDICTS)
    ]
    caption = "Claims, declared before the runs, and what the data say of each"
    return Table("claims", caption, columns, rows)


def cells(anchor: str, caption: str, experiments: int = 2, folded: bool = False) -> Table:
    columns = [
        Column("experiment", doc="The experiment as the protocol names it."),
        Column("norm"),
        Column("batch size", number=True),
        Column("mean epochs", number=True, doc="Restricted to the budget of the experiment."),
        Column("95 % interval", number=True),
        Column("p", number=True, doc="Exact sign-flip test, adjusted within its family (Holm)."),
        Column("reached", number=True),
        Column("diverged", number=True),
        Column("seconds", number=True),
        Column("note"),
    ]
    rows = []
    for e in range(experiments):
        for i, norm in enumerate(NORMS):
            for size in SIZES[:3]:
                mean = (7 * i + 3 * size + e) % 11 + 0.25
                rows.append([
                    Value(f"experiment {e + 1}"), Value(norm), Value(str(size), sort=size),
                    Value(f"{mean:.2f}", sort=mean), Value(f"{mean - 1:.2f} to {mean + 1:.2f}"),
                    Value("" if i == 2 else f"{0.001 * (i + 1):.3f}", sort=float("nan") if i == 2
                          else 0.001 * (i + 1)),
                    Value(f"{8 + i % 3} of 10", sort=8 + i % 3), Value(str(i % 2), sort=i % 2),
                    Value(f"{mean * 1.7:,.1f}", sort=mean * 1.7),
                    Value("" if size > 1 else "batch norm has no variance here"),
                ])  # fmt: skip
    return Table(anchor, caption, columns, rows, filter_by=0, folded=folded)


def figure(anchor: str, svg: str, wide: bool = True) -> Figure:
    reading = (
        "Error against batch size (logarithmic). Small dots are runs, one per seed; large marks "
        "are the means over seeds. Lower is better."
    )
    shows = "Batch norm's error rises fivefold below batch size 8; the other norms stay level."
    alt = "Lines of the final validation error over batch sizes 1 to 128, one per norm."
    return Figure(anchor, svg, reading, shows, alt, "norm,batch_size,error\nbatch,2,0.1\n", wide)


def rich_page(draw: bool = True) -> Page:
    """Everything at once; ``draw=False`` takes tiny figures instead of drawn ones."""

    def svg(panels: int) -> str:
        return drawn(panels, "made up") if draw else SVG

    lead = (
        "Use batch norm from batch size 8 upwards and layer norm below it. Batch norm breaks at "
        "small batches: the crossover lies at batch size 5.7 (95 % interval 4.1 to 7.9). Two "
        "claims are undecided; about 14 more seeds would decide them."
    )
    prose = (
        "The unit is the seed: it decides the initial weights and the order of the data, and all "
        "configurations share it, so that differences are taken within a seed. Final error is the "
        "mean over the last evaluations of a run; a diverged run counts with the error of chance."
    )
    side = [figure(f"cost-{i}", svg(1), wide=False) for i in range(2)]
    return Page(
        "Normalization and batch size",
        "Six norms at six batch sizes on three datasets, 10 seeds each, registered before the runs",
        (
            Section("answers", "Answers", [Text([lead], lead=True), claims(),
                    Items(["Undecided: does group norm help at batch size 4?", "Void: none."],
                          "What is open")]),
            Section("completeness", "Completeness", [Text(["Every planned run is counted."]),
                    cells("runs", "Runs by status", 1, folded=True)]),
            Section("speed", "Convergence speed", [Text([prose])], [
                Section("speed-1", "Learning curves", [figure("curves", svg(3))]),
                Section("speed-2", "Time to threshold",
                        [figure("times", svg(2)), cells("time-rows", "Times to threshold")]),
            ]),
            Section("small-batches", "Small batches", [Text([prose]), figure("batch", svg(2)),
                    Text(["Between batch sizes, differences are taken seed by seed."])]),
            Section("cost", "Cost", [*side, Text([prose])]),
            Section("methods", "Methods", [
                Text([prose, prose]),
                Items([("seed", "Decides the initial weights and the order of the data."),
                       ("threshold", "A validation accuracy that runs are timed to.")], "Words"),
                CodeBlock("normbench run protocols/full.toml\nnormbench report results/full",
                     "To reproduce"),
            ]),
        ),
    )  # fmt: skip
