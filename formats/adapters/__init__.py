"""Formats, one module per family. `formats.names` says which name lives where."""
