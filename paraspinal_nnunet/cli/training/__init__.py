"""Verbs that plan and train, and that send models on their way."""
