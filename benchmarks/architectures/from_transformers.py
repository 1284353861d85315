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

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One or two (N, tokens) int64 -> (N, tokens, hidden) and (N, hidden)."""
        result = self.network(input_ids=input_ids, attention_mask=attention_mask)
        return result.last_hidden_state, result.pooler_output


class States(nn.Module):
    """An encoder of `transformers` whose only result is a vector for each step or token."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, signal: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Samples (N, samples), or tokens and their mask (N, tokens) -> (N, steps, hidden)."""
        result: torch.Tensor = self.network(signal, attention_mask=attention_mask).last_hidden_state
        return result


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


def regnet(**options: Any) -> nn.Module:
    """RegNet (Radosavovic et al., 2020) with squeeze-and-excite by default; `options` as RegNetConfig's."""
    from transformers import RegNetConfig, RegNetForImageClassification

    return Classifier(RegNetForImageClassification(RegNetConfig(**options)))


def levit(**options: Any) -> nn.Module:
    """LeViT (Graham et al., 2021) with both its classifiers, "128" by default."""
    from transformers import LevitConfig, LevitForImageClassificationWithTeacher

    return Classifier(LevitForImageClassificationWithTeacher(LevitConfig(**options)))


def pvt_v2(**options: Any) -> nn.Module:
    """Pyramid vision transformer v2 (Wang et al., 2022), "b0" by default."""
    from transformers import PvtV2Config, PvtV2ForImageClassification

    return Classifier(PvtV2ForImageClassification(PvtV2Config(**options)))


def wav2vec2(**options: Any) -> nn.Module:
    """wav2vec 2.0 (Baevski et al., 2020), "base" by default; its weight norm is folded, as for any deployment."""
    from torch.nn.utils.parametrize import remove_parametrizations
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    network = Wav2Vec2Model(Wav2Vec2Config(**options))
    remove_parametrizations(network.encoder.pos_conv_embed.conv, "weight")
    return States(network)


def clip_text(**options: Any) -> nn.Module:
    """The text encoder of CLIP (Radford et al., 2021), that of ViT-B/32 by default."""
    from transformers import CLIPTextConfig, CLIPTextModel

    # This end of text stands for the original's rule: pooled is the vector of the token with the highest number.
    return Encoder(CLIPTextModel(CLIPTextConfig(eos_token_id=2, **options)))


def t5_encoder(**options: Any) -> nn.Module:
    """The encoder of T5 (Raffel et al., 2020), "small" by default."""
    from transformers import T5Config, T5EncoderModel

    # Written out: torch's exporter fails on its fused attention with a bias.
    return States(T5EncoderModel(T5Config(attn_implementation="eager", **options)))


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
