"""Keras's files: `.keras` of Keras 3, and `.h5` of Keras 2, whose layers have options that Keras 3 does not know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...errors import ModelError, UnsupportedError
from ..request import framework

# Options that Keras 2 wrote for every layer of a class, with the only value that means nothing.
_LEFT_OVER: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {name: {"groups": 1} for name in ("DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "DepthwiseConv1D")}
    | {name: {"time_major": False} for name in ("LSTM", "GRU", "SimpleRNN")}
)


def load_keras(path: Path) -> Any:
    """Reads a Keras model from a file; code in it is not run (`safe_mode`).

    Raises:
        ModelError: the file is missing or damaged.
        UnsupportedError: it has layers that are not Keras's own.
    """
    keras = framework("keras", "tensorflow", "Keras models")
    if not path.is_file():
        raise ModelError("the model file does not exist", where=str(path))
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True, custom_objects=_tolerant(keras))
    except Exception as error:  # Keras raises what its layers do
        reason = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"
        if "custom_objects" in str(error) or "safe_mode" in str(error) or "Lambda" in str(error):
            raise UnsupportedError(
                "the file has layers that are not Keras's own",
                where=str(path),
                details=[reason],
                hint="load it in Python with custom_objects=..., and give the model: tilewright.compile(model)",
            ) from error
        raise ModelError(
            "the file is no Keras model, or it is damaged",
            where=str(path),
            details=[reason],
            hint="save it with model.save('model.keras') by the Keras that is installed here",
        ) from error


def _tolerant(keras: Any) -> dict[str, Any]:
    """Keras 3's layers that take what Keras 2 left over, by name."""
    return {name: _tolerant_layer(getattr(keras.layers, name), options) for name, options in _LEFT_OVER.items()}


def _tolerant_layer(layer: Any, options: Mapping[str, object]) -> Any:
    def from_config(cls: Any, config: dict[str, Any]) -> Any:
        # What means something stays, and Keras refuses it.
        return layer.from_config({key: value for key, value in config.items() if options.get(key, cls) != value})

    return type(layer.__name__, (layer,), {"from_config": classmethod(from_config), "__module__": layer.__module__})
