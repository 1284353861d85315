"""Arm Cortex-M: microcontrollers, which run no operating system."""
