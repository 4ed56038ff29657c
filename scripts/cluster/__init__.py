"""Brings the reference up on kind and takes it down again: knows kind and Helm, and nothing of Django."""
