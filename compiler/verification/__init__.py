"""Is the result right, and if not, which node and which pass broke it."""
