"""The README and docs/: every command, file and recipe in them is followed."""
