"""Attacks on the promise that nothing unaudited, broken or half-written is ever read."""
