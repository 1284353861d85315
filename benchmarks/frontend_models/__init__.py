"""Small models of many architectures, through the PyTorch frontend, held to what PyTorch computes: docs/models.md."""
