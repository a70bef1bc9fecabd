"""Statistics on plain arrays: exact paired tests, intervals, times, families, verdicts.

Nothing here knows of files, tables or training. Positive differences always mean that A
is better; every random draw has a fixed, documented seed.
"""

from normbench.errors import StatisticsError
from normbench.stats.compare import paired, paired_difference, seed_correlation
from normbench.stats.divergence import (
    clopper_pearson,
    compare_divergence,
    discordant_share,
    divergence_rate,
    mcnemar_exact_p,
)
from normbench.stats.durations import (
    fraction_reached,
    geometric_ratio,
    median_time,
    ratio_of_means,
    restricted_mean_difference,
)
from normbench.stats.equivalence import (
    equivalence,
    invariance,
    margin_p_values,
    noninferiority,
    tost,
)
from normbench.stats.flip import sign_flip_p, sign_flip_p_columns
from normbench.stats.guard import Guard, asymmetry_guard, bootstrap_t_interval, skewness
from normbench.stats.interval import subset_mean_interval, subset_ratio_interval, t_interval
from normbench.stats.multiplicity import (
    Band,
    benjamini_hochberg,
    holm,
    max_t,
    simultaneous_band,
)
from normbench.stats.noise import seed_noise
from normbench.stats.outcome import (
    EndpointValues,
    blind_score,
    chance_error,
    chance_loss,
    endpoint_values,
)
from normbench.stats.planning import minimum_detectable_effect, seeds_needed
from normbench.stats.quadratic import Quadratic, rule_of_thumb, squared_error
from normbench.stats.refusals import Blocks, cannot_reach, complete_blocks, minimum_seeds
from normbench.stats.result import Caveat, Result
from normbench.stats.smallbatch import (
    crossover_batch_size,
    inverse_batch_contrast,
    inverse_batch_weights,
)
from normbench.stats.speed import (
    RestrictedTimes,
    crossing_time,
    restricted_time,
    running_mean,
)
from normbench.stats.thresholds import Sweep, pooled_grid, pooled_threshold, threshold_sweep
from normbench.stats.unpaired import welch_permutation
from normbench.stats.verdict import (
    ClaimData,
    Verdict,
    judge,
    judge_family,
    verdict_from_interval,
)

__all__ = [
    "Band",
    "Blocks",
    "Caveat",
    "ClaimData",
    "EndpointValues",
    "Guard",
    "Quadratic",
    "RestrictedTimes",
    "Result",
    "StatisticsError",
    "Sweep",
    "Verdict",
    "asymmetry_guard",
    "benjamini_hochberg",
    "blind_score",
    "bootstrap_t_interval",
    "cannot_reach",
    "chance_error",
    "chance_loss",
    "clopper_pearson",
    "compare_divergence",
    "complete_blocks",
    "crossing_time",
    "crossover_batch_size",
    "discordant_share",
    "divergence_rate",
    "endpoint_values",
    "equivalence",
    "fraction_reached",
    "geometric_ratio",
    "holm",
    "invariance",
    "inverse_batch_contrast",
    "inverse_batch_weights",
    "judge",
    "judge_family",
    "margin_p_values",
    "max_t",
    "mcnemar_exact_p",
    "median_time",
    "minimum_detectable_effect",
    "minimum_seeds",
    "noninferiority",
    "paired",
    "paired_difference",
    "pooled_grid",
    "pooled_threshold",
    "ratio_of_means",
    "restricted_mean_difference",
    "restricted_time",
    "rule_of_thumb",
    "running_mean",
    "seed_correlation",
    "seed_noise",
    "seeds_needed",
    "sign_flip_p",
    "sign_flip_p_columns",
    "simultaneous_band",
    "skewness",
    "squared_error",
    "subset_mean_interval",
    "subset_ratio_interval",
    "t_interval",
    "threshold_sweep",
    "tost",
    "verdict_from_interval",
    "welch_permutation",
]
