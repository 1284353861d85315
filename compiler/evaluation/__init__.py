"""What a library is worth on data: accuracy against speed, memory, size and energy."""
