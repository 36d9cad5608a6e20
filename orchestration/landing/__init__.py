"""The way in: files become rows of schema raw, and what cannot be a row is kept with its reason."""
