"""Sizes that vary from call to call: which are asked for, what models for several of them differ in, and states."""
