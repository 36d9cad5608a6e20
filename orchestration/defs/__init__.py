"""Dagster's view of the line, one file a stage; the work is done by the functions that the command line calls."""
