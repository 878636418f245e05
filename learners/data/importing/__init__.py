"""Recordings of others, read into a dataset: one module a format."""
