"""Passes on operators: fewer of them, and each pattern as one."""
