"""Steps on conversations."""
