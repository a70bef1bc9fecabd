"""The report: one self-contained HTML page from the tables of the analysis."""
