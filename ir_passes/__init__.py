"""Relax -> Relax: one pass a file, each a frozen dataclass named as its file is."""

from .base import GraphPass, Pass, PassResult, run_passes, verify
from .canonicalize import Canonicalize
from .channels_last import ChannelsLast
from .combine_parallel_matmul import CombineParallelMatmul
from .concat_in_place import ConcatInPlace
from .cse import Cse
from .fold_batch_norm import FoldBatchNorm
from .fold_constants import FoldConstants
from .fold_scale import FoldScale
from .fuse_attention import FuseAttention
from .fuse_epilogues import FuseEpilogues
from .fuse_gelu import FuseGelu
from .fuse_hard_swish import FuseHardSwish
from .fuse_layer_norm import FuseLayerNorm
from .fuse_silu import FuseSilu
from .fuse_softmax import FuseSoftmax
from .narrow_storage import NarrowStorage
from .simplify_reductions import SimplifyReductions
from .slice_in_place import SliceInPlace

__all__ = [
    "Canonicalize",
    "ChannelsLast",
    "CombineParallelMatmul",
    "ConcatInPlace",
    "Cse",
    "FoldBatchNorm",
    "FoldConstants",
    "FoldScale",
    "FuseAttention",
    "FuseEpilogues",
    "FuseGelu",
    "FuseHardSwish",
    "FuseLayerNorm",
    "FuseSilu",
    "FuseSoftmax",
    "GraphPass",
    "NarrowStorage",
    "Pass",
    "PassResult",
    "SimplifyReductions",
    "SliceInPlace",
    "run_passes",
    "verify",
]
