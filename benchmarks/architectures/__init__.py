"""Plain torch definitions of published convolutional networks, one family a file, written from their papers.

There is no CPU build of torchvision to depend on; `transformers` has the rest (see `benchmarks/models.py`).
Every network takes an image tensor (N, 3, H, W) float32 and returns logits (N, classes) float32.
"""
