"""How fast a library is, and how fast it could be."""
