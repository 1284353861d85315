"""Architectures that see: classification, segmentation, detection, depth, larger pictures, pictures with words."""

from __future__ import annotations

from typing import Any

import torch

from .model import Hub, Model, image

_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_IMAGE = {"image_size": 32, "patch_size": 8}
_STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
_SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
_SEGFORMER = {
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 2, 2, 4],
    "decoder_hidden_size": 32,
}
_DETR = {
    "use_timm_backbone": False,
    "use_pretrained_backbone": False,
    "backbone": None,
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "num_queries": 8,
}
_SAM: dict[str, dict[str, Any]] = {
    "vision_config": {**_SMALL, "image_size": 64, "patch_size": 8, "output_channels": 16, "global_attn_indexes": [1], "window_size": 4, "mlp_dim": 64, "num_pos_feats": 8},
    "prompt_encoder_config": {"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 4},
    "mask_decoder_config": {"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
}  # fmt: skip


def _backbone() -> object:
    import transformers

    return transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], out_features=["stage2"])


def _clip(extra: dict[str, object] | None = None) -> dict[str, object]:
    text = {**_SMALL, "vocab_size": 99, "max_position_embeddings": 16, **(extra or {})}
    return {"text_config": text, "vision_config": {**_SMALL, **_IMAGE}, "projection_dim": 16}


def _words_and_picture() -> dict[str, torch.Tensor]:
    return {"input_ids": torch.randint(1, 99, (1, 8)), "pixel_values": torch.randn(1, 3, 32, 32)}


VISION = (
    Model("ResNet", "classification", Hub("ResNetForImageClassification", "ResNetConfig", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}), image()),
    Model("MobileNetV2", "classification", Hub("MobileNetV2ForImageClassification", "MobileNetV2Config", {"image_size": 32, "depth_multiplier": 0.35}), image()),
    Model("MobileViT", "classification", Hub("MobileViTForImageClassification", "MobileViTConfig", {"image_size": 64, "hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32]}), image(64)),
    Model("EfficientNet", "classification", Hub("EfficientNetForImageClassification", "EfficientNetConfig", {"image_size": 64, "width_coefficient": 0.25, "depth_coefficient": 0.3, "hidden_dim": 320}), image(64)),
    Model("RegNet", "classification", Hub("RegNetForImageClassification", "RegNetConfig", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "groups_width": 4}), image()),
    Model("ConvNeXt", "classification", Hub("ConvNextForImageClassification", "ConvNextConfig", _STAGES), image(64)),
    Model("ConvNeXt V2", "classification", Hub("ConvNextV2ForImageClassification", "ConvNextV2Config", _STAGES), image(64)),
    Model("ViT", "classification", Hub("ViTForImageClassification", "ViTConfig", {**_SMALL, **_IMAGE}), image()),
    Model("DeiT", "classification", Hub("DeiTForImageClassification", "DeiTConfig", {**_SMALL, **_IMAGE}), image()),
    Model("BEiT", "classification", Hub("BeitForImageClassification", "BeitConfig", {**_SMALL, **_IMAGE}), image()),
    Model("DINOv2", "classification", Hub("Dinov2ForImageClassification", "Dinov2Config", {**_SMALL, **_IMAGE}), image()),
    Model("Swin", "classification", Hub("SwinForImageClassification", "SwinConfig", _SWIN), image()),
    Model("Swin V2", "classification", Hub("Swinv2ForImageClassification", "Swinv2Config", _SWIN), image()),
    Model("PVT v2", "classification", Hub("PvtV2ForImageClassification", "PvtV2Config", {"image_size": 64, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 2, 4]}), image(64)),
    Model("PoolFormer", "classification", Hub("PoolFormerForImageClassification", "PoolFormerConfig", _STAGES), image(64)),
    Model("SegFormer", "segmentation", Hub("SegformerForSemanticSegmentation", "SegformerConfig", _SEGFORMER), image(64)),
    Model("DPT", "depth", Hub("DPTForDepthEstimation", "DPTConfig", {**_SMALL, **_IMAGE, "num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}), image()),
    Model("YOLOS", "detection", Hub("YolosForObjectDetection", "YolosConfig", {**_SMALL, "image_size": [32, 32], "patch_size": 8, "num_detection_tokens": 5}), image()),
    Model("DETR", "detection", Hub("DetrForObjectDetection", "DetrConfig", {**_DETR, "backbone_config": _backbone}), image(64)),
    Model("Swin2SR", "super-resolution", Hub("Swin2SRForImageSuperResolution", "Swin2SRConfig", {"image_size": 16, "patch_size": 1, "embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 4}), image(16)),
    Model("CLIP", "pictures and words", Hub("CLIPModel", "CLIPConfig", _clip({"eos_token_id": 2})), _words_and_picture),
    Model("SigLIP", "pictures and words", Hub("SiglipModel", "SiglipConfig", _clip()), _words_and_picture),
    Model("SAM, its image encoder", "segmentation", Hub("SamVisionModel", "SamVisionConfig", _SAM["vision_config"]), image(64)),
    Model("SAM", "segmentation", Hub("SamModel", "SamConfig", _SAM), lambda: {"pixel_values": torch.randn(1, 3, 64, 64), "input_points": torch.tensor([[[[10.0, 20.0]]]])}),
)  # fmt: skip
