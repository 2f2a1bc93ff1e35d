"""Verbs that make, convert and look over data sets."""
