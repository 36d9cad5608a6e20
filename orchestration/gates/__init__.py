"""The doors: Great Expectations decides, inside the warehouse, what may pass."""
