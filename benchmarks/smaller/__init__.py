"""What smaller networks lose and gain: half of the work, and fronts of searches, on trained weights and real data."""
