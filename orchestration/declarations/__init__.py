"""What the project's YAML declares, as typed records."""
