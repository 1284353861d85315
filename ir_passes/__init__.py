"""Relax -> Relax: one pass a file, each a frozen dataclass named as its file is."""

from .compression.cut_channels import CutChannels
from .compression.drop_branches import DropBranches
from .compression.factorize import Factorize
from .compression.prune_weights import PruneWeights
from .core.base import GraphPass, Pass, PassResult, run_passes, verify
from .extents.hold_extents import HoldExtents
from .extents.stop_at_extents import StopAtExtents
from .kernels.append_in_place import AppendInPlace
from .kernels.concat_in_place import ConcatInPlace
from .kernels.fuse_epilogues import FuseEpilogues
from .kernels.narrow_storage import NarrowStorage
from .kernels.slice_in_place import SliceInPlace
from .layout.channels_last import ChannelsLast
from .operators.canonicalize import Canonicalize
from .operators.cast_operands import CastOperands
from .operators.cse import Cse
from .operators.fold_batch_norm import FoldBatchNorm
from .operators.fold_constants import FoldConstants
from .operators.fold_scale import FoldScale
from .operators.fuse_attention import FuseAttention
from .operators.fuse_gelu import FuseGelu
from .operators.fuse_group_norm import FuseGroupNorm
from .operators.fuse_hard_swish import FuseHardSwish
from .operators.fuse_layer_norm import FuseLayerNorm
from .operators.fuse_silu import FuseSilu
from .operators.fuse_softmax import FuseSoftmax
from .operators.share_heads import ShareHeads
from .operators.simplify_reductions import SimplifyReductions
from .operators.trim_kernels import TrimKernels
from .patches.patch_wise import PatchWise
from .quantization.integer_means import IntegerMeans
from .quantization.integer_products import IntegerProducts
from .quantization.move_dequantize import MoveDequantize
from .quantization.place_pairs import PlacePairs
from .quantization.quantize_dynamically import QuantizeDynamically
from .quantization.quantize_weights import QuantizeWeights
from .quantization.requantize_sums import RequantizeSums
from .quantization.uniform_activations import UniformActivations
from .quantization.weight_products import WeightProducts

__all__ = [
    "AppendInPlace",
    "Canonicalize",
    "CastOperands",
    "ChannelsLast",
    "ConcatInPlace",
    "Cse",
    "CutChannels",
    "DropBranches",
    "Factorize",
    "FoldBatchNorm",
    "FoldConstants",
    "FoldScale",
    "FuseAttention",
    "FuseEpilogues",
    "FuseGelu",
    "FuseGroupNorm",
    "FuseHardSwish",
    "FuseLayerNorm",
    "FuseSilu",
    "FuseSoftmax",
    "GraphPass",
    "HoldExtents",
    "IntegerMeans",
    "IntegerProducts",
    "MoveDequantize",
    "NarrowStorage",
    "Pass",
    "PassResult",
    "PatchWise",
    "PlacePairs",
    "PruneWeights",
    "QuantizeDynamically",
    "QuantizeWeights",
    "RequantizeSums",
    "ShareHeads",
    "SimplifyReductions",
    "SliceInPlace",
    "StopAtExtents",
    "TrimKernels",
    "UniformActivations",
    "WeightProducts",
    "run_passes",
    "verify",
]
