"""Figures: from tables to SVG. Nothing is computed here that a table does not hold."""
