"""Passes on quantized tensors: which integers are multiplied, and what is done between a dequantize and a quantize."""
