"""Values for inputs that nobody gave."""
