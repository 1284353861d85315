"""What int8 costs of a network's accuracy, ours and others', on trained weights and real data."""
