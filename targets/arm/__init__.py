"""Arm: 64 bits, and 32 bits with NEON."""
