"""A synthetic collaborative product whose hidden truth is known: raw events of invented companies, and why they came.

It knows nothing of the traits. What people feel and intend is decided first, what they do follows from it with noise,
and the truth is written beside the events, so that whoever reads behaviour can be measured.
"""
