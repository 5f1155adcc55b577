"""Calls that are kept whole, and played again: a bug becomes a test."""
