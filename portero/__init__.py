"""Answers telephone calls from Asterisk with a realtime voice agent."""

__version__ = "0.1.0"
