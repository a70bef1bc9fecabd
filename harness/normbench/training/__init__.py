"""Training: from a planned run to its rows. Touches no file."""
