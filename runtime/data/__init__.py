"""Tokens: synthetic or memory-mapped, the same for every plan."""
