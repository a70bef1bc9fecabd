"""The tables of a study with what they say: claims as sentences stand in their table."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from normbench.analysis.tables import Analysis
from normbench.analysis.tables import analyse as compute
from normbench.protocol.study import Study
from normbench.report.claim_sentences import claim_sentence
from normbench.results.load import Results


def with_sentences(claims: pd.DataFrame, study: Study) -> pd.DataFrame:
    """The table ``claims`` with the column ``sentence``: what was found on each."""
    said = [claim_sentence(row, study) for row in claims.to_dict("records")]
    found = claims.copy()
    found.insert(found.columns.get_loc("text") + 1, "sentence", pd.Series(said, dtype=object))  # type: ignore[arg-type, operator]
    return found


def analyse(results: Results) -> Analysis:
    """All tables of a study; see :func:`normbench.analysis.tables.analyse`."""
    found = compute(results)
    claims = with_sentences(found["claims"], results.study)
    return replace(found, tables=found.tables | {"claims": claims})
