"""Reference examples from R and published tables (golden.json) for the methods offered."""

import json
from pathlib import Path

import numpy as np
import pytest

from normbench.stats import (
    clopper_pearson,
    compare_divergence,
    endpoint_values,
    inverse_batch_contrast,
    inverse_batch_weights,
    max_t,
    mcnemar_exact_p,
    median_time,
    minimum_seeds,
    paired,
    paired_difference,
    ratio_of_means,
    restricted_mean_difference,
    restricted_time,
    sign_flip_p,
    sign_flip_p_columns,
    skewness,
    subset_mean_interval,
    tost,
    verdict_from_interval,
)
from normbench.stats.multiplicity import holm

EXAMPLES = {
    example["name"]: example
    for example in json.loads((Path(__file__).parent / "golden.json").read_text(encoding="utf-8"))[
        "examples"
    ]
}

# Methods that the package does not offer, or does not offer yet.
LEFT_OUT = {
    "iqm": "ranking across tasks is left out",
    "alpha_spending": "sequential looks are a feature of their own",
    "group_sequential_flip": "sequential looks are a feature of their own",
}


def example(name):
    item = EXAMPLES[name]
    return item["inputs"], item["expected"], item["tolerance"]


def close(value, expected, tolerance):
    numbers = np.array([float(v) for v in np.ravel(np.array(expected, dtype=object))])
    np.testing.assert_allclose(np.ravel(value), numbers, atol=tolerance, rtol=0)


def curve(values):
    return [float("nan") if v is None else v for v in values]


@pytest.mark.parametrize(
    "name",
    ["sign_flip_two_sided_n8", "sign_flip_greater_n8", "sign_flip_floor_n5", "sign_flip_floor_n6"],
)
def test_sign_flip(name):
    inputs, expected, tolerance = example(name)
    close(
        sign_flip_p(inputs["d"], inputs.get("alternative", "two-sided")), expected["p"], tolerance
    )
    if "ci95" in expected:
        close(subset_mean_interval(inputs["d"]), expected["ci95"], tolerance)


def test_five_seeds_are_refused_by_the_comparison():
    inputs, _, _ = example("sign_flip_floor_n5")
    assert paired_difference(inputs["d"]).refusal is not None


def test_sign_flip_n20_integer():
    inputs, expected, tolerance = example("sign_flip_n20_integer")
    close(sign_flip_p(inputs["d"]), expected["p_two_sided"], tolerance)
    close(sign_flip_p(inputs["d"], "greater"), expected["p_greater"], tolerance)


@pytest.mark.parametrize("name", ["subset_mean_ci_n8", "subset_mean_ci_n20"])
def test_subset_mean_interval(name):
    inputs, expected, tolerance = example(name)
    close(subset_mean_interval(inputs["d"]), expected["ci95"], tolerance)
    close(subset_mean_interval(inputs["d"], 0.1), expected["ci90"], tolerance)


def test_paired_t_on_request():
    inputs, expected, tolerance = example("paired_t_n8")
    result = paired(inputs["a"], inputs["b"], goal="max", normal_interval=True)
    close(result.details["t_interval"], expected["ci95"], tolerance)


def test_skewness():
    inputs, expected, tolerance = example("skewness_guard_g1")
    close(skewness(inputs["d"]), expected["g1"], tolerance)


def test_restricted_time_paired():
    inputs, expected, tolerance = example("restricted_time_paired")
    result = restricted_mean_difference(inputs["time_a"], inputs["time_b"], budget=inputs["budget"])
    close(result.details["mean_a"], expected["rmst_a"], tolerance)
    close(result.estimate, expected["diff"], tolerance)
    close(result.p, expected["p"], tolerance)
    close(result.interval, expected["ci95"], tolerance)


def test_restricted_mean_ratio():
    inputs, expected, tolerance = example("restricted_mean_ratio")
    result = ratio_of_means(inputs["time_a"], inputs["time_b"], budget=30)
    close(result.estimate, expected["ratio"], tolerance)
    close(result.interval, expected["ci95"], tolerance)


def test_median_order_statistic():
    inputs, expected, tolerance = example("median_order_statistic_ci")
    result = median_time([float(v) for v in inputs["time"]])
    assert result.details["order_statistic"] == expected["k"]
    close(result.interval[0], expected["lo"], tolerance)
    assert result.interval[1] == float(expected["hi"])
    close(result.details["confidence"], expected["confidence"], tolerance)


@pytest.mark.parametrize(
    "name",
    [
        "time_to_threshold_interpolated",
        "time_to_threshold_never",
        "time_to_threshold_reached_then_diverged",
        "time_to_threshold_diverged_before",
        "time_to_threshold_first_epoch",
    ],
)
def test_time_to_threshold(name):
    inputs, expected, tolerance = example(name)
    values = curve(inputs["metric_by_epoch"])
    times = restricted_time(
        np.arange(1, len(values) + 1),
        values,
        inputs["threshold"],
        goal="max",
        budget=inputs["budget"],
        window=inputs["window"],
    )
    close(times.time, expected["restricted_time"], tolerance)
    assert bool(times.reached) == expected["reached"]
    assert bool(times.diverged) == expected["diverged"]


def test_aulc_with_divergence():
    inputs, expected, tolerance = example("aulc_with_divergence")
    values = curve(inputs["metric_by_epoch"])
    endpoint = endpoint_values(
        "aulc",
        np.arange(1, len(values) + 1),
        [values],
        goal="max",
        failure_score=inputs["failure_score"],
    )
    close(endpoint.values, expected["aulc"], tolerance)
    close(1 - endpoint.values, expected["regret_to_1"], tolerance)


def test_mcnemar():
    inputs, expected, tolerance = example("mcnemar_exact")
    only_a, only_b = inputs["only_a_diverged"], inputs["only_b_diverged"]
    both, neither = inputs["both"], inputs["neither"]
    a = [1] * only_a + [0] * only_b + [1] * both + [0] * neither
    b = [0] * only_a + [1] * only_b + [1] * both + [0] * neither
    close(compare_divergence(a, b).p, expected["p"], tolerance)
    close(mcnemar_exact_p(only_a, only_b), expected["p"], tolerance)


def test_clopper_pearson():
    inputs, expected, tolerance = example("clopper_pearson")
    for k, n in inputs["cases"]:
        close(clopper_pearson(k, n), expected[f"ci95_{k}_{n}"], tolerance)


def test_tost():
    inputs, expected, tolerance = example("tost_flip")
    result = tost(inputs["d"], inputs["margin"])
    close(result.p, expected["p"], tolerance)
    close(result.interval, expected["ci90"], tolerance)
    d, margin = np.array(inputs["d"]), inputs["margin"]
    close(sign_flip_p(d + margin, "greater"), expected["p_lower"], tolerance)
    close(sign_flip_p(margin - d, "greater"), expected["p_upper"], tolerance)


def test_batch_weights():
    inputs, expected, tolerance = example("batch_weights")
    close(inverse_batch_weights(inputs["batch_sizes"]), expected["inverse"], tolerance)


def test_small_batch_interaction():
    inputs, expected, tolerance = example("small_batch_interaction")
    result = inverse_batch_contrast(inputs["error_bn"], inputs["error_gn"], inputs["batch_sizes"])
    close(result.details["slope_values"], expected["inverse_contrast_per_seed"], tolerance)
    close(result.details["slope_mean"], expected["mean"], tolerance)
    close(result.p, expected["p"], tolerance)
    span = 1 / 2 - 1 / 128
    close(np.array(result.interval) / span, expected["ci95"], tolerance)
    close(result.details["difference_in_differences"], expected["did_mean"], tolerance)
    close(result.details["difference_in_differences_p"], expected["did_p"], tolerance)


def test_max_t():
    inputs, expected, tolerance = example("maxT_stepdown")
    d = np.array(inputs["D"])
    close(max_t(d), expected["adjusted_p"], tolerance)
    close(sign_flip_p_columns(d), expected["raw_flip_p"], tolerance)
    close(holm(sign_flip_p_columns(d)), expected["holm_of_raw"], tolerance)


def test_minimum_seeds():
    inputs, expected, _ = example("minimum_seeds")
    alpha = inputs["alpha"]
    assert minimum_seeds(alpha) == expected["two_sided_m1"]
    assert minimum_seeds(alpha, 12, "holm") == expected["two_sided_holm_m12"]
    assert minimum_seeds(alpha, 12, "max-t") == expected["two_sided_maxT_any_m"]
    assert minimum_seeds(alpha, sided=1) == expected["one_sided_tost"]
    six = [float(v) for v in range(expected["median_ci95"])]
    assert median_time(six).refusal is None
    assert median_time(six[1:]).refusal is not None


def test_verdicts():
    _, expected, _ = example("verdicts")
    for kind, margin, interval, verdict in expected["rows"]:
        assert verdict_from_interval(kind, margin, tuple(interval)) == verdict


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_example_is_tested_or_left_out_for_a_reason(name):
    source = Path(__file__).read_text(encoding="utf-8")
    tested = source.count(f'"{name}"') > (1 if name in LEFT_OUT else 0)
    reference_only = EXAMPLES[name].get("scope", "").startswith("reference-only")
    assert tested or reference_only or name in LEFT_OUT
