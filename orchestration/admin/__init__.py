"""Keeping a home: forgetting a person, retention, backup and restore."""
