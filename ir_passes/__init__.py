"""Relax -> Relax: one pass a file, each a frozen dataclass named as its file is."""

from .core.base import GraphPass, Pass, PassResult, run_passes, verify
from .extents.hold_extents import HoldExtents
from .extents.stop_at_extents import StopAtExtents
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
from .operators.simplify_reductions import SimplifyReductions
from .operators.trim_kernels import TrimKernels
from .quantization.integer_products import IntegerProducts
from .quantization.move_dequantize import MoveDequantize
from .quantization.requantize_sums import RequantizeSums
from .quantization.unsigned_activations import UnsignedActivations

__all__ = [
    "Canonicalize",
    "CastOperands",
    "ChannelsLast",
    "ConcatInPlace",
    "Cse",
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
    "IntegerProducts",
    "MoveDequantize",
    "NarrowStorage",
    "Pass",
    "PassResult",
    "RequantizeSums",
    "SimplifyReductions",
    "SliceInPlace",
    "StopAtExtents",
    "TrimKernels",
    "UnsignedActivations",
    "run_passes",
    "verify",
]
