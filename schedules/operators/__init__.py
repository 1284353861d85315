"""Relax operators -> the computes of templates, or computes that need none."""
