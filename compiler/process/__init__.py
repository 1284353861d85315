"""What a compile does to the process and its files: workers, progress, interrupts, files that appear whole."""
