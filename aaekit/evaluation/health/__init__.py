"""Diagnosis of a training by its curves and codes: what is wrong, what it means, and what to try first."""

from aaekit.evaluation.health.checks import diagnose
from aaekit.evaluation.health.evidence import Comparison, Evidence, HealthFinding

__all__ = ["Comparison", "Evidence", "HealthFinding", "diagnose"]
