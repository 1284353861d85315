"""The parts of TensorFlow Lite's schema that are read: operators by number, their options by field.

After tensorflow/compiler/mlir/lite/schema/schema.fbs, version 3 of the format.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# In the order of their numbers; 32 is an operator of somebody's own.
_NAMES = """ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
    FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION
    LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH
    CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
    BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
    BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM
    ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE
    EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR
    ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE
    RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND
    COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
    NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL PLACEHOLDER
    CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT
    HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS
    RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1
    UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR
    RIGHT_SHIFT"""
OPERATORS = tuple(_NAMES.split())
CUSTOM = OPERATORS.index("CUSTOM")

# Element types by number, as numpy names them; what is missing has no plain tensors.
DTYPES: Mapping[int, str] = MappingProxyType(
    {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8", 10: "float64"}
    | {12: "uint64", 15: "uint32", 16: "uint16"}
)
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
# The least and the greatest real value that an activation leaves; None: no bound.
BOUNDS: Mapping[str, tuple[float | None, float | None]] = MappingProxyType(
    {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}
)
PADDINGS = ("SAME", "VALID")

_CONV = {"padding": (0, "b"), "stride_w": (1, "i"), "stride_h": (2, "i"), "activation": (3, "b")}
_DEPTHWISE = {"depth_multiplier": (3, "i"), "activation": (4, "b"), "dilation_w": (5, "i"), "dilation_h": (6, "i")}
_POOL = {"filter_w": (3, "i"), "filter_h": (4, "i"), "activation": (5, "b")}
_ACTIVATION = {"activation": (0, "b")}
_KEEP_DIMS = {"keep_dims": (0, "?")}
_BLOCK = {"block_size": (0, "i")}
_MASKS = {"begin": (0, "i"), "end": (1, "i"), "ellipsis": (2, "i"), "new_axis": (3, "i"), "shrink": (4, "i")}

# The options of an operator: the field of each in its table, and how it is written there.
OPTIONS: Mapping[str, Mapping[str, tuple[int, str]]] = MappingProxyType(
    {
        "CONV_2D": {**_CONV, "dilation_w": (4, "i"), "dilation_h": (5, "i")},
        "DEPTHWISE_CONV_2D": {**_CONV, **_DEPTHWISE},
        "TRANSPOSE_CONV": _CONV,
        "AVERAGE_POOL_2D": {**_CONV, **_POOL},
        "MAX_POOL_2D": {**_CONV, **_POOL},
        "FULLY_CONNECTED": {**_ACTIVATION, "weights_format": (1, "b"), "keep_num_dims": (2, "?")},
        "SOFTMAX": {"beta": (0, "f")},
        "CONCATENATION": {"axis": (0, "i"), "activation": (1, "b")},
        **dict.fromkeys(("ADD", "SUB", "MUL", "DIV", "L2_NORMALIZATION"), _ACTIVATION),
        "RESIZE_BILINEAR": {"align_corners": (2, "?"), "half_pixel_centers": (3, "?")},
        "RESIZE_NEAREST_NEIGHBOR": {"align_corners": (0, "?"), "half_pixel_centers": (1, "?")},
        **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"), _KEEP_DIMS),
        "STRIDED_SLICE": {**_MASKS, "offset": (5, "?")},
        "GATHER": {"axis": (0, "i"), "batch_dims": (1, "i")},
        "SPLIT": {"num_splits": (0, "i")},
        "PACK": {"count": (0, "i"), "axis": (1, "i")},
        "UNPACK": {"count": (0, "i"), "axis": (1, "i")},
        "LEAKY_RELU": {"alpha": (0, "f")},
        "BATCH_MATMUL": {"adj_x": (0, "?"), "adj_y": (1, "?")},
        "GELU": {"approximate": (0, "?")},
        "SPACE_TO_DEPTH": _BLOCK,
        "DEPTH_TO_SPACE": _BLOCK,
        "MIRROR_PAD": {"mode": (0, "b")},
        "ONE_HOT": {"axis": (0, "i")},
        "CUMSUM": {"exclusive": (0, "?"), "reverse": (1, "?")},
    }
)
