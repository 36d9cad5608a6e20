"""What the past says of the traits."""
