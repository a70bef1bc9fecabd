"""Benchmarks: the same training written in several ways, timed in one interleaved run.

``python -m benchmarks`` from the repository's root; see README.md, which is written by it.
"""
