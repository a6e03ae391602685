"""Runs: the configuration of a training, the data that it uses, and the directory that holds its results."""
