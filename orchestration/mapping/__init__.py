"""Proposals of what unmapped events mean; a person reads them and decides."""
