"""Models for a range of sizes: which part of each tensor is there, and what must not be seen of the rest."""
