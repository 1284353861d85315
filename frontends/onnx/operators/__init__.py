"""Converters from ONNX operators to Relax, in files by family. The registry imports every module here."""
