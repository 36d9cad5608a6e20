"""What the project declares in YAML, as typed records: traits, syncs and, later, plays."""
