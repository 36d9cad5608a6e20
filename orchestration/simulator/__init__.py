"""A synthetic collaborative product whose hidden truth is known: events of invented companies, and what caused them.

It knows nothing of the traits. What people feel and intend is decided first, what they do follows from it with noise,
and the truth is written beside the events, so that a trait can be measured by what it finds of it.
"""
