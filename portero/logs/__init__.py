"""The log: which events are written, in what form, and where."""
