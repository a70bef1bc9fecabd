"""Probes: what a network in training looks like inside, one family of quantities a file.

A probe is a function from a :class:`~normbench.training.probes.base.ProbeContext` to values. It
computes in training mode, with cloned buffers and the same dropout masks in all evaluations,
and leaves the model as it found it.

Cost on the small CNN of 6,000 to 9,000 parameters with none, batch or layer norm, on eight batches
of 4 or 32 of 8×8 images, one thread of a machine that was busy besides (a training step's gradient
took 2.4 to 9 ms there), in milliseconds an evaluation: curvature 490–1790, landscape 60–180,
max-step 70–180, covariate-shift 40–125, gradient-noise 20–110, activations 13–43, drift 16–43,
participation and gradient-tails 11–31 each, weights 2–4.
"""
