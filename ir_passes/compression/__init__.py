"""Networks made smaller: which channels go together, and passes that take some away."""
