"""What is published, read for a person or a product."""
