"""Targets: what a machine is, and how to name one."""

from .parse import host, parse
from .target import Target

__all__ = ["Target", "host", "parse"]
