"""TensorFlow's models: Keras models and files and SavedModels become ONNX by tf2onnx, or by way of TensorFlow Lite."""

from .open import open_tensorflow

__all__ = ["open_tensorflow"]
