"""Analysis: from the result tables to tidy tables of estimates and comparisons."""
