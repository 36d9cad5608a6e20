"""What the tables must hold, said a second time in plain Python, and streams of events to compare by."""
