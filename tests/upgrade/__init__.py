"""What this version publishes, next to what another version published from the same events."""
