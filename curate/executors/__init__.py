"""Executors: they know tasks, never steps."""
