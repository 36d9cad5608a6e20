"""The published store: its tables, state, history and sentences. Only publishing/ writes it."""
