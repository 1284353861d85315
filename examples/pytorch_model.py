"""A PyTorch module to a library in one call, and the same module by `torch.compile(backend=...)`.

python examples/pytorch_model.py        # needs: pip install 'tilewright[pytorch]'
"""

from __future__ import annotations

import tilewright
import torch
from tilewright.compiler import torch_compile
from torch import Tensor, nn


class Tagger(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Attention over the words of a sentence; gives a tag for each, and one for all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(1000, 64)
        self.attend = nn.Linear(64, 3 * 64)
        self.norm = nn.LayerNorm(64)
        self.tag = nn.Linear(64, 10)

    def forward(self, words: Tensor) -> dict[str, Tensor]:
        hidden = self.words(words)
        query, key, value = self.attend(hidden).unflatten(-1, (3, 4, 16)).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(query, key, value)
        hidden = self.norm(hidden + seen.transpose(1, 2).flatten(2))
        return {"tags": self.tag(hidden), "sentence": hidden.mean(1)}


def main() -> None:
    torch.manual_seed(0)
    module = Tagger().eval()
    words = torch.randint(0, 1000, (1, 24))

    opened = tilewright.open(module, words)  # exported, and checked against the module
    model = tilewright.compile(opened)
    print(model)
    with torch.no_grad():
        expected = module(words)
    for name, result in model.run({"words": words.numpy()}).items():
        print(f"{name}: max |error| {float((torch.from_numpy(result) - expected[name]).abs().max()):.1e}")
    kernels = dict.fromkeys(source for step in model.signature.steps for source in step.sources)
    print("kernels come from:", ", ".join(list(kernels)[:6]), "...")

    # With Tilewright installed, backend="tilewright" finds the same.
    fast = torch.compile(module, backend=torch_compile.tilewright)
    with torch.no_grad():
        print(f"torch.compile: max |error| {float((fast(words)['tags'] - expected['tags']).abs().max()):.1e}")


if __name__ == "__main__":
    main()
