"""Proposals of what events mean, for a person to look at."""
