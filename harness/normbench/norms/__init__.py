"""Normalization layers, one family a file, each built for a shape and its parameters."""
