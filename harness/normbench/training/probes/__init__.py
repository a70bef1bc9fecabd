"""Probes: what a network in training looks like inside, one family of quantities a file.

A probe is a function from a :class:`~normbench.training.probes.base.Moment` to values. It
computes in training mode, with cloned buffers and the same dropout masks in all evaluations,
and leaves the model as it found it.
"""
