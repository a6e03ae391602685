"""Numbers: what a fitted estimator is worth."""
