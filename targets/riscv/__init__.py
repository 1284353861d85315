"""RISC-V of 64 bits, with and without vectors."""
