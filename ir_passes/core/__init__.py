"""What every pass is made of: the graph, matching, rewriting, names of nodes."""
