"""x86-64: its levels, units and features, the host's processor, and the code that is written for it alone."""
