"""Spark as the engine: raw rows go there, candidates come back to be judged, and what is published is served there.

The home decides: it holds what was loaded, the watermark, verdicts, ledger and snapshots. Spark holds copies of raw,
the models, and served partitions; all of them can be made again from the home.
"""
