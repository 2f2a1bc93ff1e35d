"""Metrics of one pair of label maps."""
