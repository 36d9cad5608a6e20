"""Keeping a house: forgetting a person, retention, backup and restore."""
