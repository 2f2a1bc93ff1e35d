"""Verbs that compare models: metrics, statistics, reports and whole workflows."""
