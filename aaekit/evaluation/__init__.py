"""Evaluation of fitted estimators: metrics, comparison with other methods, and diagnosis of failed trainings."""
