"""Models on emulated Cortex-M boards, beside other engines: `python -m benchmarks.microcontrollers`."""
