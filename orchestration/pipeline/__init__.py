"""Whole operations, as the command line and Dagster call them: refresh, backfill, diff, status."""
