"""Readers: files on disk or behind fsspec to batches of documents, with every unreadable row reported."""
