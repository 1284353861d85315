"""TensorIR read, named, built and rebuilt: what templates are made of."""
