"""Asks every edge the same questions about the same streams, and has the same things happen to it."""
