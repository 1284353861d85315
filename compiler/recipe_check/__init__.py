"""Whether a library computes what its recipe says: the references of what is cut, and of what is quantized."""
