"""Reproduction of published figures: experiments, the logs of what was measured, and the tables in the documentation.

``aae reproduce`` runs an experiment from a source checkout; this package is beside `aaekit` and not in its wheel.

- ``experiments/*.yaml``: one experiment each, its settings and the published figure (`experiments` reads them)
- ``logs/*.json``: what was measured (`logs` reads, writes and tabulates them)
- `measure`: runs an experiment for several seeds, or continues it
- `protocols`: what is trained and which numbers are noted, by name; `outliers` and `simulation` are the longest ones
- `trials`: one seed of an experiment, with its data and results; `judge`: the classifier that judges generated rows
- `doc_tables`: copies figures from the logs into the pages of the documentation
"""
