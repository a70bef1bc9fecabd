"""``python -m benchmarks.stacked``: nets without a packed form against one seed after the other.

A norm of another package (``benchmarks/foreign``) in the fully connected net and in the digits
CNN, and built-in norms in the narrow residual net. (a) is the script of ``benchmarks/README.md``
with the same network, (c) what calibration picks for 32 seeds. They take turns in one process, a
block of steps each; a cell's ratio is the median over the rounds, a row's that over its norms.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "foreign"))

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from benchmarks import machine  # noqa: E402
from benchmarks.script import Training, epochs_of_loader  # noqa: E402
from benchmarks.work import BATCHES, LEARNING_RATE, MOMENTUM  # noqa: E402

SEEDS, ROUNDS, BLOCK_SECONDS, EPOCHS = 32, 9, 0.4, 25
#: The catalogue's widths.
WIDTH, RESNET = 64, 16
#: What must be reached, by title: models, norms and the ratio at each batch size.
ROWS: dict[str, tuple[str, tuple[str, ...], dict[int, float]]] = {
    "foreign norm, fully connected": ("mlp", ("power",), {2: 8.0, 8: 5.0, 32: 3.0, 128: 1.5}),
    "foreign norm, digits CNN": ("small-cnn", ("power",), {2: 4.5, 8: 1.6, 32: 1.2, 128: 0.95}),
    "residual net": ("resnet", ("batch", "group", "layer"), {2: 4.0, 8: 2.5, 32: 1.3, 128: 1.0}),
}


def norm(kind: str, channels: int, size: int) -> nn.Module:
    """What stands behind a layer in the script."""
    from power_norm import PowerNorm

    match kind:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "layer":
            return nn.LayerNorm([channels, size, size])
        case "group":
            return nn.GroupNorm(4, channels)
        case _:
            return PowerNorm(channels)


class Basic(nn.Module):
    """A basic block of the residual net."""

    def __init__(self, kind: str, inputs: int, outputs: int, stride: int, size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1), norm(kind, outputs, size), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1), norm(kind, outputs, size),
        )  # fmt: skip
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            across = nn.Conv2d(inputs, outputs, 1, stride)
            self.shortcut = nn.Sequential(across, norm(kind, outputs, size))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def network(model: str, kind: str) -> nn.Sequential:
    """The script's network, written as one would."""
    if model == "mlp":
        hidden = [nn.Linear(64, WIDTH), norm(kind, WIDTH, 1), nn.ReLU()]
        hidden += [nn.Linear(WIDTH, WIDTH), norm(kind, WIDTH, 1), nn.ReLU()]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(WIDTH, 10))
    if model == "small-cnn":
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), norm(kind, 16, 8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), norm(kind, 32, 4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(128, 10),
        )  # fmt: skip
    blocks: list[nn.Module] = []
    inputs, size = RESNET, 8
    for stage in range(3):
        outputs, stride = RESNET * 2**stage, 2 if stage else 1
        size //= stride
        blocks.append(Basic(kind, inputs, outputs, stride, size))
        inputs = outputs
    stem = [nn.Conv2d(1, RESNET, 3, 1, 1), norm(kind, RESNET, 8), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10)]
    return nn.Sequential(*stem, *blocks, *head)


def _cell(model: str, kind: str, batch: int) -> Any:
    from normbench.protocol.schema import Cell

    chosen: dict[str, Any] = {"name": model}
    chosen |= {"mlp": {"width": WIDTH}, "resnet": {"width": RESNET, "blocks": 1}}.get(model, {})
    return Cell.model_validate({
        "dataset": "digits", "model": chosen, "batch_size": batch, "epochs": EPOCHS,
        "norm": {"name": "group", "groups": 4} if kind == "group" else kind,
        "learning_rate": LEARNING_RATE, "optimizer": {"name": "sgd", "momentum": MOMENTUM},
    })  # fmt: skip


class Ours:
    """(c): the engine and width that calibration picks."""

    def __init__(self, cell: Any) -> None:
        from normbench.calibration.calibrate import calibrate
        from normbench.calibration.tasks import Calibration
        from normbench.plan.spec import RunSpec
        from normbench.training.data import prepare
        from normbench.training.engines import make_engine, units
        from normbench.workflow.grouping import choose

        found = calibrate(
            Calibration("", RunSpec("bench", cell, 0), SEEDS, SEEDS, "cpu", 1, "auto")
        )
        self.choice = choose(found.measured, SEEDS, cells=1, workers=1, steps=found.steps)
        data = prepare(cell)
        runs = [RunSpec("bench", cell, seed) for seed in range(self.choice.width)]
        self.engine = make_engine(self.choice.engine, units(self.choice.engine, runs)[0], data)
        self.members = len(self.engine.runs)
        self.orders = torch.stack([torch.randperm(len(data.train)) for _ in range(self.members)])
        self.batch, self.done = cell.batch_size, 0

    def run(self, steps: int) -> None:
        """Steps of all members."""
        per_epoch = self.engine.schedule.steps_per_epoch
        with self.engine.session():
            for _ in range(steps):
                at = self.done % per_epoch * self.batch
                self.engine.step(self.orders[:, at : at + self.batch], self.done)
                self.done = (self.done + 1) % self.engine.schedule.steps


def _seconds(run: Any, steps: int) -> float:
    started = time.process_time()
    run(steps)
    return (time.process_time() - started) / steps


def ratio(model: str, kind: str, batch: int) -> dict[str, Any]:
    """(a)'s seconds of a seed's step by (c)'s, the median over rounds in which they take turns."""
    from normbench.training.data import prepare

    cell = _cell(model, kind, batch)
    train = prepare(cell).train
    ours = Ours(cell)
    net = network(model, kind)
    wanted = sum(p.numel() for p in net.parameters())
    if wanted != ours.engine.parameters:
        raise SystemExit(f"{model}, {kind}: (a) has {wanted} parameters, (c) another number")
    script = Training(net, epochs_of_loader(train.x.contiguous(), train.y, batch), 0.01, False)
    turns = {}
    for name, run in (("a", script.run), ("c", ours.run)):
        run(2)
        turns[name] = run, max(2, round(BLOCK_SECONDS / max(1e-6, _seconds(run, 3))))
    found: dict[str, list[float]] = {"a": [], "c": []}
    for i in range(ROUNDS):
        for name in ("a", "c") if i % 2 else ("c", "a"):
            found[name].append(_seconds(*turns[name]))
    pairs = zip(found["a"], found["c"], strict=True)
    return {
        "model": model, "norm": kind, "batch": batch, "engine": ours.choice.engine.name,
        "width": ours.members, "a": median(found["a"]), "c": median(found["c"]) / ours.members,
        "ratio": median(a * ours.members / c for a, c in pairs),
    }  # fmt: skip


def page(content: dict[str, Any]) -> str:
    """``stacked.md``."""
    lines = [
        "# Nets without a packed form", "", (__doc__ or "").partition("\n\n")[2].strip(), "",
        f"Machine: {content['machine']['cpu']}; one thread. Ratio to (a), and the bar.", "",
        "| cells | " + " | ".join(f"batch {b}" for b in BATCHES) + " |",
        "|---|" + "---|" * len(BATCHES),
    ]  # fmt: skip
    for title, (model, norms, bars) in ROWS.items():
        texts = []
        for batch in BATCHES:
            cells = (c for c in content["cells"] if (c["model"], c["batch"]) == (model, batch))
            own = [c["ratio"] for c in cells if c["norm"] in norms]
            met = "" if median(own) >= bars[batch] else ", not met"
            texts.append(f"{median(own):.2f} (bar {bars[batch]:g}{met})")
        lines.append(f"| {title} | " + " | ".join(texts) + " |")
    lines += ["", "| model | norm | batch | engine | seeds | (a) ms | (c) ms a seed | ratio |",
              "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for c in content["cells"]:
        lines.append(
            f"| {c['model']} | {c['norm']} | {c['batch']} | {c['engine']} | {c['width']} | "
            f"{1e3 * c['a']:.3f} | {1e3 * c['c']:.3f} | {c['ratio']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all cells and write the page."""
    from normbench.training.work import set_up_worker

    set_up_worker()
    cells = []
    for model, norms, _ in ROWS.values():
        for kind in norms:
            for batch in BATCHES:
                cells.append(ratio(model, kind, batch))
                print({k: cells[-1][k] for k in ("model", "norm", "batch", "width", "ratio")},
                      file=sys.stderr, flush=True)  # fmt: skip
    content = {"machine": machine.describe(), "cells": cells}
    store = HERE / "results" / "stacked.json"
    store.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (HERE / "stacked.md").write_text(page(content), encoding="utf-8")


if __name__ == "__main__":
    main()
