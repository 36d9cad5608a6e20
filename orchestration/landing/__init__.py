"""Landing: files and tables become rows of schema raw; a record that cannot be a row is kept with its reason."""
