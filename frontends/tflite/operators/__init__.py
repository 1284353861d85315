"""Converters of TensorFlow Lite's operators, a file a family; each registers itself in the table of `node.py`."""
