"""Relax operators of our own, one a module: how TVM knows them, what they compute, how their calls are read."""
