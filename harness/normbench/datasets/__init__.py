"""Data sets, their splits and the scaling of their inputs, as numpy arrays."""
