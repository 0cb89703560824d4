"""Measures this machine, so that predictions for it rest on it.

What is measured are kernels, collectives and small reference steps of fixed general shapes, never
the job that is to be predicted.
"""

from runtime.calibrate.cluster import calibrate

__all__ = ["calibrate"]
