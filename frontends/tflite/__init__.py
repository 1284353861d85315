"""TensorFlow Lite files, read without TensorFlow: float and quantized, to ONNX with quantize and dequantize pairs."""

from .open import open_tflite

__all__ = ["open_tflite"]
