"""Administration of a home: forgetting a data subject, retention, backup and restore."""
