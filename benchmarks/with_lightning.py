"""(b): Lightning's Trainer with logging, checkpoints and progress off."""

from __future__ import annotations

import logging
import time
import warnings
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.contenders import BLOCK_SECONDS, Contender
from benchmarks.script import network
from benchmarks.work import LEARNING_RATE, MOMENTUM, SEEDS, Work


def installed() -> bool:
    """Whether Lightning can be timed here."""
    return find_spec("lightning") is not None


class Lightning(Contender):
    """One ``fit`` a block; the clock runs between the ends of two of its training steps."""

    def __init__(self) -> None:
        import lightning

        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        warnings.filterwarnings("ignore")

        class Module(lightning.LightningModule):
            def __init__(self, net: nn.Module) -> None:
                super().__init__()
                self.net = net

            def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
                x, y = batch
                return functional.cross_entropy(self.net(x), y)

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.SGD(self.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)

        class Clock(lightning.Callback):
            def __init__(self, warm: int) -> None:
                self.warm, self.times = warm, [(0.0, 0.0), (0.0, 0.0)]

            def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
                if trainer.global_step in (self.warm, trainer.max_steps):
                    self.times = [self.times[1], (time.perf_counter(), time.process_time())]

        self.lightning, self.module, self.clock = lightning, Module, Clock

    def plan(self) -> dict[str, Any]:
        """Nothing to decide."""
        return super().plan() | {"version": self.lightning.__version__}

    def begin(self, work: Work) -> dict[str, Any]:
        """As for the others; the block's length is found without Lightning's start-up."""
        said = super().begin(work)
        some = max(5, self.steps)
        seconds = self.fit(2, some)[1] / some
        self.steps = max(1, round(BLOCK_SECONDS / seconds))
        return said

    def start(self, turn: int) -> None:
        """The next seed's network and loader."""
        torch.manual_seed(turn % SEEDS)
        self.net = self.module(network(self.work.model, self.work.norm))
        data = TensorDataset(self.x, self.y)
        self.loader = DataLoader(data, batch_size=self.work.batch, shuffle=True, drop_last=True)

    def run(self, steps: int) -> None:
        """A fit of some steps."""
        self.fit(0, steps)

    def fit(self, warm: int, steps: int) -> tuple[float, float]:
        """Wall-clock and CPU seconds of ``steps`` steps after ``warm`` others."""
        clock = self.clock(warm)
        self.lightning.Trainer(
            accelerator="cpu", devices=1, max_steps=warm + steps, callbacks=[clock],
            logger=False, enable_progress_bar=False, enable_checkpointing=False,
            enable_model_summary=False,
        ).fit(self.net, self.loader)  # fmt: skip
        (w0, c0), (w1, c1) = clock.times
        return w1 - w0, c1 - c0

    def block(self, turn: int) -> dict[str, float]:
        """As for the others, without Lightning's start-up, which it pays once a run."""
        self.start(turn)
        wall, cpu = self.fit(max(1, self.warm), self.steps)
        return {"wall": wall, "cpu": cpu, "units": float(self.steps)}
