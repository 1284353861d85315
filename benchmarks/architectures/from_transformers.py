"""Networks that `transformers` defines exactly as published, as modules from tensors to tensors."""

from __future__ import annotations

# torch is untyped to mypy here (see pyproject.toml), so its modules are subclasses of Any:
# mypy: allow-subclassing-any
from typing import Any

import torch
from torch import nn


class Classifier(nn.Module):
    """An image classifier of `transformers`, from images (N, 3, H, W) to logits (N, labels) alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, labels)."""
        logits: torch.Tensor = self.network(pixel_values=x).logits
        return logits


class Encoder(nn.Module):
    """A text encoder of `transformers`: token vectors, and the pooled first token."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Two (N, tokens) int64 -> (N, tokens, hidden) and (N, hidden)."""
        result = self.network(input_ids=input_ids, attention_mask=attention_mask)
        return result.last_hidden_state, result.pooler_output


class Decoder(nn.Module):
    """A causal language model of `transformers` over a whole prompt, without a cache."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Two (N, tokens) int64 -> logits (N, tokens, vocabulary)."""
        result = self.network(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        logits: torch.Tensor = result.logits
        return logits


def resnet(**options: Any) -> nn.Module:
    """ResNet (He et al., 2016) in its usual form, the stride in the 3x3 convolution; `options` as ResNetConfig's."""
    from transformers import ResNetConfig, ResNetForImageClassification

    return Classifier(ResNetForImageClassification(ResNetConfig(**options)))


def convnext(**options: Any) -> nn.Module:
    """ConvNeXt (Liu et al., 2022), "tiny" by default."""
    from transformers import ConvNextConfig, ConvNextForImageClassification

    return Classifier(ConvNextForImageClassification(ConvNextConfig(**options)))


def vit(**options: Any) -> nn.Module:
    """Vision transformer (Dosovitskiy et al., 2021), B/16 by default."""
    from transformers import ViTConfig, ViTForImageClassification

    return Classifier(ViTForImageClassification(ViTConfig(**options)))


def bert(**options: Any) -> nn.Module:
    """BERT (Devlin et al., 2019) with its pooler, "base" by default."""
    from transformers import BertConfig, BertModel

    return Encoder(BertModel(BertConfig(**options)))


def gpt2(**options: Any) -> nn.Module:
    """GPT-2 (Radford et al., 2019), the smallest of the four by default."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return Decoder(GPT2LMHeadModel(GPT2Config(**options)))


def llama(**options: Any) -> nn.Module:
    """LLaMA (Touvron et al., 2023): RMS norm, rotary positions, gated SiLU; `options` as LlamaConfig's."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return Decoder(LlamaForCausalLM(LlamaConfig(**options)))
