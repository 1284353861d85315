"""Measurements and models as text, tables, pages and drawings."""
