"""A synthetic software business: hidden states drive events with noise, and are written beside them as the truth."""
