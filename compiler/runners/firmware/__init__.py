"""What a model needs around it to run on an emulated microcontroller: start-up code, memory map, inputs and outputs."""
