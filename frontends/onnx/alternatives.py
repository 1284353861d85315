"""For operators that are not supported: what a person can do instead, so that an error says more than no."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_STRING = "do text processing before the model"
_RANDOM = "pass random numbers in as an input"
_DATA_DEPENDENT = "its output's size depends on data: do this step after the model"
_FUSED = "export without the runtime's own fused operators (ONNX Runtime: disable graph optimisation before saving)"
_FOREIGN = (
    "an operator of a domain that is not ONNX's: rewrite it with ONNX's own, or define it by a function in the model"
)
_TREE = "tree and linear models of ai.onnx.ml are not neural networks: run them in their own library"

# The hint about a model as a whole.
HINT = "rewrite or cut these nodes; docs/onnx-support.md lists the operators that are supported"
# The nearest thing that is supported, by operator.
_ALTERNATIVES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ["StringConcat", "StringSplit", "StringNormalizer", "RegexFullMatch", "TfIdfVectorizer", "LabelEncoder"],
            _STRING,
        ),
        **dict.fromkeys(
            [
                "RandomNormal",
                "RandomUniform",
                "RandomNormalLike",
                "RandomUniformLike",
                "Bernoulli",
                "Multinomial",
            ],
            _RANDOM,
        ),
        **dict.fromkeys(["NonZero", "Unique", "Compress", "NonMaxSuppression"], _DATA_DEPENDENT),
        "Dropout": "export the model in inference mode (training_mode is an input here)",
    }
)
# By domain, when the operator itself says nothing.
_DOMAINS: Mapping[str, str] = MappingProxyType(
    {
        "com.microsoft": _FUSED,
        "com.microsoft.nchwc": _FUSED,
        "ai.onnx.ml": _TREE,
        "ai.onnx.preview.training": "export the model for inference, without its optimizer",
    }
)


def advice(domain: str, op_type: str) -> str | None:
    """What to do about an operator that is not supported, where that is known."""
    if domain in ("", "ai.onnx"):
        return _ALTERNATIVES.get(op_type)
    return _DOMAINS.get(domain, _FOREIGN)
