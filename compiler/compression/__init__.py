"""Networks made smaller, driven: what is cut is chosen on data, and what is left makes up for it."""
