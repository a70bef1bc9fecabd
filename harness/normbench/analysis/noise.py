"""Seed noise apart from the noise of a finite test set, from the stored correctness bits."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from normbench.results.load import Results
from normbench.stats.noise import seed_noise

COLUMNS = ["experiment", "norm", "batch_size", "cell_hash", "evaluation", "seeds", "test_items",
           "accuracy", "sd", "seed_sd", "test_set_sd", "warnings"]  # fmt: skip


def noise_table(results: Results, only: Collection[str] | None = None) -> pd.DataFrame:
    """Per cell and evaluation kind: the spread of test accuracy over seeds, and its two parts.

    ``sd`` is the deviation over seeds, ``test_set_sd`` what a finite test set alone explains
    and ``seed_sd`` what is left (0 where nothing is). Diverged runs are left out. ``only`` names
    the experiments (default: all).
    """
    runs = results.runs[
        (results.runs["phase"] == "evaluation") & (results.runs["status"] == "finished")
    ]
    if only is not None:
        runs = runs[runs["experiment"].isin(list(only))]
    keys = ["run_hash", "experiment", "norm", "batch_size", "cell_hash", "seed"]
    joined = runs[keys].merge(results.predictions, on="run_hash", how="inner")
    joined = joined[joined["correct"].str.len() > 0]  # of imported runs no item is known
    rows = []
    by = ["experiment", "norm", "batch_size", "cell_hash", "evaluation"]
    for key, part in joined.groupby(by, sort=False):
        if len(part) < 2:
            continue
        bits = np.stack(part.sort_values("seed")["correct"].to_list()).astype(np.float64)
        result = seed_noise(bits)
        test_set = float(result.details["test_set_variance"])  # type: ignore[arg-type]
        rows.append(
            dict(zip(by, key, strict=True))
            | {
                "seeds": len(part),
                "test_items": bits.shape[1],
                "accuracy": float(bits.mean()),
                "sd": float(bits.mean(axis=1).std(ddof=1)),
                "seed_sd": max(0.0, result.estimate) ** 0.5,
                "test_set_sd": test_set**0.5,
                "warnings": "; ".join(map(str, result.warnings)),
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS)
