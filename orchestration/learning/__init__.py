"""What the home learns from its own past: scores of traits."""
