"""Channels last: layouts, and transposes that cancel."""
