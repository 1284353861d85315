"""Networks written in plain PyTorch: recurrent ones, a U-Net, a diffusion block, a graph network, decoder steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .language import LANGUAGE
from .model import Model


class Recurrent(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A tagger: an embedding, a recurrent layer in both directions, a dense layer."""

    def __init__(self, layer: type[nn.Module]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.layer = layer(16, 12, num_layers=2, batch_first=True, bidirectional=True)
        self.dense = nn.Linear(24, 5)

    def forward(self, words: Tensor) -> Tensor:
        return self.dense(self.layer(self.embedding(words))[0])


class UNet(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Down twice and up again, with what was seen on the way down."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([self._block(3, 8), self._block(8, 16)])
        self.middle = self._block(16, 32)
        self.grow = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)])
        self.up = nn.ModuleList([self._block(32, 16), self._block(16, 8)])
        self.last = nn.Conv2d(8, 2, 1)

    @staticmethod
    def _block(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, image: Tensor) -> Tensor:
        seen = []
        for block in self.down:
            image = block(image)
            seen.append(image)
            image = nn.functional.max_pool2d(image, 2)
        image = self.middle(image)
        for grow, block in zip(self.grow, self.up, strict=True):
            image = block(torch.cat([grow(image), seen.pop()], 1))
        return self.last(image)


class DiffusionBlock(nn.Module):  # type: ignore[misc]  # torch has no types here
    """A residual block with a step's embedding, and attention over pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.step = nn.Linear(16, 32)
        self.norms = nn.ModuleList([nn.GroupNorm(8, 32) for _ in range(3)])
        self.convolutions = nn.ModuleList([nn.Conv2d(32, 32, 3, padding=1) for _ in range(2)])
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        angles = step[:, None] * torch.exp(torch.arange(8) * -0.5)
        embedded = self.step(torch.cat([angles.sin(), angles.cos()], 1))
        hidden = self.convolutions[0](nn.functional.silu(self.norms[0](x))) + embedded[:, :, None, None]
        x = x + self.convolutions[1](nn.functional.silu(self.norms[1](hidden)))
        rows = self.norms[2](x).flatten(2).transpose(1, 2)
        return x + self.attention(rows, rows, rows)[0].transpose(1, 2).reshape(x.shape)


class GraphNetwork(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Two rounds of messages along the edges of a graph, summed by index."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 4)])

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        for layer in self.layers:
            messages = layer(nodes)[edges[0]]
            summed = torch.zeros(nodes.shape[0], messages.shape[1]).index_add(0, edges[1], messages)
            nodes = torch.relu(summed)
        return nodes


class DecoderStep(nn.Module):  # type: ignore[misc]  # torch has no types here
    """One word with the keys and values of those before: what a decoder does in a loop."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, input_ids: Tensor, past: tuple[tuple[Tensor, Tensor], ...]) -> dict[str, Any]:
        import transformers

        cache = transformers.DynamicCache([(key, value) for key, value in past])
        made = self.inner(input_ids=input_ids, past_key_values=cache, use_cache=True)
        kept = [(layer.keys, layer.values) for layer in made.past_key_values.layers]
        return {"logits": made.logits, "present": kept}


class CrossStep(nn.Module):  # type: ignore[misc]  # torch has no types here
    """One word of a translation, with the keys and values of the words before and of the sentence."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, word: Tensor, encoded: Tensor, own: Any, cross: Any) -> dict[str, Any]:
        import transformers
        from transformers.modeling_outputs import BaseModelOutput

        caches = [transformers.DynamicCache([(k, v) for k, v in each]) for each in (own, cross)]
        cache = transformers.EncoderDecoderCache(*caches)
        made = self.inner(
            decoder_input_ids=word,
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            past_key_values=cache,
            use_cache=True,
        )
        kept = [(layer.keys, layer.values) for layer in made.past_key_values.self_attention_cache.layers]
        return {"logits": made.logits, "present": kept}


def _of(name: str) -> nn.Module:
    return next(model for model in LANGUAGE if model.name == name).make()


def _past(layers: int, heads: int, length: int, width: int = 8) -> tuple[tuple[Tensor, Tensor], ...]:
    return tuple((torch.randn(1, heads, length, width), torch.randn(1, heads, length, width)) for _ in range(layers))


def _step(layers: int, heads: int) -> tuple[Any, ...]:
    return torch.randint(1, 99, (1, 1)), _past(layers, heads, 7)


def _cross(layers: int) -> tuple[Any, ...]:
    return torch.randint(1, 99, (1, 1)), torch.randn(1, 10, 32), _past(layers, 4, 3), _past(layers, 4, 10)


NETWORKS = (
    Model("LSTM, both directions", "recurrent", lambda: Recurrent(nn.LSTM), lambda: (torch.randint(0, 50, (2, 9)),)),
    Model("GRU, both directions", "recurrent", lambda: Recurrent(nn.GRU), lambda: (torch.randint(0, 50, (2, 9)),)),
    Model("U-Net", "segmentation", UNet, lambda: (torch.randn(1, 3, 32, 32),)),
    Model("a diffusion block", "diffusion", DiffusionBlock, lambda: (torch.randn(2, 32, 8, 8), torch.tensor([3.0, 40.0]))),
    Model("a graph network", "graphs", GraphNetwork, lambda: (torch.randn(10, 16), torch.randint(0, 10, (2, 30)))),
    Model("GPT-2, a step with its cache", "text decoder", lambda: DecoderStep(_of("GPT-2")), lambda: _step(2, 4)),
    Model("Llama, a step with its cache", "text decoder", lambda: DecoderStep(_of("Llama")), lambda: _step(2, 2)),
    Model("T5, a step with its caches", "translation", lambda: CrossStep(_of("T5")), lambda: _cross(2)),
    Model("BART, a step with its caches", "translation", lambda: CrossStep(_of("BART")), lambda: _cross(1)),
)  # fmt: skip
