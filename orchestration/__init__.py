"""Traithouse: raw product events in, gated and explained traits out."""
