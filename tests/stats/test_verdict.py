import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normbench.errors import StatisticsError
from normbench.stats import (
    ClaimData,
    holm,
    judge,
    judge_family,
    margin_p_values,
    max_t,
    sign_flip_p,
    simultaneous_band,
    subset_mean_interval,
    verdict_from_interval,
)


def normal(seed, shift=0.0, n=12, spread=1.0):
    return spread * np.random.default_rng(seed).standard_normal(n) + shift


@given(
    st.lists(st.integers(-9, 14), min_size=8, max_size=13),
    st.sampled_from(["superiority", "noninferiority", "interaction", "equivalence"]),
    st.sampled_from([0.2, 0.5, 1.0]),
)
@settings(deadline=None, derandomize=True, max_examples=250)
def test_single_verdict_is_the_one_that_the_interval_implies(d, kind, margin):
    verdict = judge(ClaimData("c", kind, np.array(d) / 10, margin))
    result = verdict.result
    if result.refusal is not None:
        assert verdict.outcome == "inconclusive"
        assert verdict.adjusted_p is None
        return
    refutation = result.details.get("refutation_interval")
    assert verdict.outcome == verdict_from_interval(kind, margin, result.interval, refutation)


def test_support_refutation_and_neither():
    assert judge(ClaimData("up", "superiority", normal(1, 2.0))).outcome == "supported"
    assert judge(ClaimData("down", "superiority", normal(1, -2.0))).outcome == "refuted"
    assert judge(ClaimData("none", "superiority", normal(1))).outcome == "inconclusive"
    small = normal(2, 0.5, spread=0.2)
    assert judge(ClaimData("margin", "superiority", small, 1.0)).outcome == "refuted"
    worse = normal(3, -0.2, spread=0.2)
    assert judge(ClaimData("ni", "noninferiority", worse, 0.6)).outcome == "supported"
    assert (
        judge(ClaimData("same", "equivalence", normal(4, spread=0.1), 0.3)).outcome == "supported"
    )
    assert judge(ClaimData("off", "equivalence", normal(5, 1.0), 0.1)).outcome == "refuted"
    assert judge(ClaimData("wide", "equivalence", normal(6), 0.1)).outcome == "inconclusive"


def test_touching_a_bound_is_inconclusive():
    d = normal(1, 2.0, n=8)
    low = subset_mean_interval(d)[0]
    assert judge(ClaimData("at", "superiority", d, low)).outcome == "inconclusive"
    assert judge(ClaimData("below", "superiority", d, low - 1e-6)).outcome == "supported"


def test_max_t_family_uses_joint_flips_and_the_band():
    d = np.column_stack([normal(1, 1.5), normal(2, 0.2), normal(3, 1.0)])
    margins = [0.1, 0.0, 0.3]
    claims = [ClaimData(str(j), "superiority", d[:, j], margins[j]) for j in range(3)]
    verdicts = judge_family(claims)
    shifted = d - margins
    np.testing.assert_array_equal([v.adjusted_p for v in verdicts], max_t(shifted))
    band = simultaneous_band(shifted)
    for j, verdict in enumerate(verdicts):
        pair = verdict.result.details["simultaneous_interval"]
        assert pair == pytest.approx((band.low[j] + margins[j], band.high[j] + margins[j]))
        assert verdict.result.details["interval_note"] == "this comparison alone"
        assert verdict.result.p == sign_flip_p(shifted[:, j])
    assert "this comparison alone" in str(verdicts[0])


def test_holm_family_may_mix_kinds_and_numbers_of_seeds():
    table = normal(7, n=36, spread=0.1).reshape(12, 3)
    claims = [
        ClaimData("gain", "superiority", normal(1, 2.0, n=14)),
        ClaimData("same", "equivalence", table, 0.4),
        ClaimData("null", "superiority", normal(2)),
    ]
    verdicts = judge_family(claims, method="holm")
    inside, beyond = margin_p_values(table, 0.4)
    raw = [
        sign_flip_p(claims[0].d),
        min(inside.max(), 1, 6 * beyond.min()),
        sign_flip_p(claims[2].d),
    ]
    np.testing.assert_allclose([v.adjusted_p for v in verdicts], holm(raw))
    assert [v.outcome for v in verdicts] == ["supported", "supported", "inconclusive"]
    simultaneous = verdicts[0].result.details["simultaneous_interval"]
    assert simultaneous == subset_mean_interval(claims[0].d, 0.05 / 3)


def test_correction_can_take_support_away():
    d = normal(11, 0.62)
    assert judge(ClaimData("alone", "superiority", d)).outcome == "supported"
    family = [ClaimData("alone", "superiority", d)]
    family += [ClaimData(str(i), "superiority", normal(20 + i)) for i in range(8)]
    assert judge_family(family, method="holm")[0].outcome == "inconclusive"


def test_refusals_are_inconclusive_and_say_why():
    few = judge(ClaimData("few", "superiority", normal(1, 5.0, n=5)))
    assert few.outcome == "inconclusive"
    assert few.reason.startswith("5 seeds")
    claims = [ClaimData(str(i), "superiority", normal(i, 5.0, n=8)) for i in range(12)]
    by_holm = judge_family(claims, method="holm")
    assert all("cannot reach" in v.reason for v in by_holm)
    by_max_t = judge_family(claims)
    assert all(v.outcome == "supported" for v in by_max_t)
    equal = [ClaimData(str(i), "equivalence", normal(i, n=6), 9.0) for i in range(4)]
    assert all("cannot reach" in v.reason for v in judge_family(equal, method="holm"))


def test_skewed_differences_need_both_intervals():
    for seed in range(400):
        d = np.random.default_rng(seed).lognormal(0, 0.9, 20) - np.exp(0.405)
        flip_finds = sign_flip_p(d) <= 0.05
        verdict = judge(ClaimData("skewed", "superiority", d))
        if flip_finds and verdict.outcome == "inconclusive":
            assert "skewed" in verdict.reason
            return
    pytest.fail("no data set in which only the bootstrap-t interval holds the bound")


def test_divergence_claims_are_mcnemars():
    d = np.array([1.0] * 8 + [0.0] * 4)
    verdict = judge(ClaimData("stable", "superiority", d, divergence=True))
    assert verdict.outcome == "supported"
    assert verdict.result.p == pytest.approx(2 / 2**8)
    assert judge(ClaimData("unstable", "superiority", -d, divergence=True)).outcome == "refuted"
    rare = judge(ClaimData("rare", "superiority", d * (np.arange(12) < 5), divergence=True))
    assert rare.outcome == "inconclusive"
    assert "discordant" in rare.reason


def test_claim_passes_its_sentence_and_correlation_on():
    claim = ClaimData(
        "c", "equivalence", normal(1), 1.0, estimand="x minus y", seed_correlation=0.4
    )
    result = judge(claim).result
    assert result.estimand == "x minus y"
    assert result.details["seed_correlation"] == 0.4


def test_fragile_is_marked():
    verdict = judge(ClaimData("mean", "superiority", normal(1, 2.0), diverged=1))
    assert verdict.fragile
    assert "(fragile)" in str(verdict)
    assert not judge(ClaimData("mean", "superiority", normal(1, 2.0, n=20), diverged=1)).fragile


@pytest.mark.parametrize(
    ("claims", "method", "said"),
    [
        ([], "holm", "at least one claim"),
        ([ClaimData("c", "better", np.ones(8))], "holm", "kind must be"),
        ([ClaimData("c", "equivalence", np.ones(8), 1.0)], "max-t", "uses Holm"),
        ([ClaimData("c", "superiority", np.ones(8), divergence=True)], "max-t", "uses Holm"),
        (
            [ClaimData("c", "superiority", np.ones(8)), ClaimData("d", "superiority", np.ones(9))],
            "max-t",
            "same seeds",
        ),
        ([ClaimData("c", "equivalence", np.ones(8))], "holm", "needs a margin above 0"),
        ([ClaimData("c", "noninferiority", np.ones(8))], "holm", "needs a margin above 0"),
        ([ClaimData("c", "superiority", np.ones(8), -1.0)], "holm", "needs a margin ≥ 0"),
        (
            [ClaimData("c", "superiority", np.ones(8), 1.0, divergence=True)],
            "holm",
            "without a margin",
        ),
        ([ClaimData("c", "superiority", np.ones(8))], "bonferroni", "method must be"),
    ],
)
def test_impossible_families_are_refused(claims, method, said):
    with pytest.raises(StatisticsError, match=said):
        judge_family(claims, method=method)


def test_one_seed_gives_no_verdict_and_no_error():
    found = judge_family([ClaimData("a", "superiority", np.array([0.1]))] * 2, method="max-t")
    assert [v.outcome for v in found] == ["inconclusive", "inconclusive"]
    assert all(v.adjusted_p is None and v.result.refusal for v in found)
