"""Numeric kernels over the buffers of Arrow string columns: arrays in, arrays out, no knowledge of steps or files.

Importing a kernel module compiles it, or loads it from the user's cache folder; nothing in `curate` imports one
before a step is bound.
"""
