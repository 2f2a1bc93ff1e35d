"""Verbs for new scans: masks and measures."""
