"""What is enough, for the command line, which imports nothing else before it must."""

LEAST_DECIBELS = 15.0  # signal to noise of a quantized model's outputs, with which it passes
LEAST_OF_A_LAYER = 10.0  # of a layer's own, with which it is quantized
