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


def _dinov2() -> object:
    import transformers

    stages = [f"stage{number}" for number in range(1, 5)]
    sizes = {**_SMALL, **_IMAGE, "num_hidden_layers": 4}
    return transformers.Dinov2Config(**sizes, out_features=stages, reshape_hidden_states=False)


def _windowed_dinov2() -> object:
    import transformers

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 4}
    return transformers.RfDetrDinov2Config(**sizes, num_windows=2, out_features=["stage2"])


def _swin() -> object:
    import transformers

    sizes = {"image_size": 64, "patch_size": 4, "embed_dim": 8, "depths": [1] * 4, "num_heads": [1, 2, 2, 2]}
    stages = [f"stage{number}" for number in range(1, 5)]
    return transformers.SwinConfig(**sizes, window_size=2, out_features=stages)


def _convnext() -> object:
    import transformers

    return transformers.ConvNextConfig(**_STAGES, out_features=[f"stage{number}" for number in range(1, 5)])


def _vitpose() -> object:
    import transformers

    sizes = {"image_size": [32, 32], "patch_size": [8, 8], "hidden_size": 32, "num_hidden_layers": 2}
    return transformers.VitPoseBackboneConfig(**sizes, num_attention_heads=4, out_features=["stage2"])


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
    Model("Depth Anything", "depth", Hub("DepthAnythingForDepthEstimation", "DepthAnythingConfig", {"backbone_config": _dinov2, "patch_size": 8, "reassemble_hidden_size": 32, "neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8, "head_hidden_size": 8}), image()),
    Model("Mask2Former", "segmentation", Hub("Mask2FormerForUniversalSegmentation", "Mask2FormerConfig", {"backbone_config": _swin, "feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 32, "encoder_layers": 2, "decoder_layers": 3, "num_attention_heads": 4, "dim_feedforward": 32, "num_queries": 8}), image(64)),
    Model("UPerNet", "segmentation", Hub("UperNetForSemanticSegmentation", "UperNetConfig", {"backbone_config": _convnext, "hidden_size": 16, "auxiliary_in_channels": 24, "auxiliary_channels": 8}), image(64)),
    Model("SwiftFormer", "classification", Hub("SwiftFormerForImageClassification", "SwiftFormerConfig", {"image_size": 64, "depths": [1, 1, 1, 1], "embed_dims": [8, 16, 24, 32]}), image(64)),
    Model("LeViT", "classification", Hub("LevitForImageClassification", "LevitConfig", {"image_size": 64, "hidden_sizes": [16, 24, 32], "num_attention_heads": [2, 2, 2], "depths": [1, 1, 1], "key_dim": [8, 8, 8]}), image(64)),
    Model("FocalNet", "classification", Hub("FocalNetForImageClassification", "FocalNetConfig", {"image_size": 64, "embed_dim": 8, "hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1]}), image(64)),
    Model("DINOv3", "features", Hub("DINOv3ViTModel", "DINOv3ViTConfig", {**_SMALL, **_IMAGE, "num_register_tokens": 2}), image()),
    Model("HGNet V2", "classification", Hub("HGNetV2ForImageClassification", "HGNetV2Config", {"embedding_size": 8, "depths": [1, 1, 1, 1], "hidden_sizes": [16, 16, 16, 16], "stem_channels": [3, 8, 8], "stage_in_channels": [8, 16, 16, 16], "stage_mid_channels": [8, 8, 8, 8], "stage_out_channels": [16, 16, 16, 16], "stage_num_blocks": [1, 1, 1, 1], "stage_numb_of_layers": [2, 2, 2, 2]}), image(64)),
    Model("PP-LCNet", "classification", Hub("PPLCNetForImageClassification", "PPLCNetConfig", {"scale": 0.25, "class_expand": 64}), image(64)),
    Model("RF-DETR", "detection", Hub("RfDetrForObjectDetection", "RfDetrConfig", {"backbone_config": _windowed_dinov2, "d_model": 32, "decoder_ffn_dim": 64, "decoder_layers": 1, "decoder_self_attention_heads": 4, "decoder_cross_attention_heads": 4, "num_queries": 5, "group_detr": 1, "c2f_num_blocks": 1}), image()),
    Model("ViTPose", "points", Hub("VitPoseForPoseEstimation", "VitPoseConfig", {"backbone_config": _vitpose, "num_labels": 5}), image()),
    Model("VideoMAE", "video", Hub("VideoMAEForVideoClassification", "VideoMAEConfig", {**_SMALL, **_IMAGE, "num_frames": 4}), lambda: {"pixel_values": torch.randn(1, 4, 3, 32, 32)}),
)  # fmt: skip
