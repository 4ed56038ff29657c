"""Holds streams open through the edge while things happen to it, and accounts for every one of them.

Knows Kubernetes through `cluster`, and the measuring stream. See docs/faults.md for what came of it.
"""
