"""Metrics and tables that compare predictions with reference labels."""
