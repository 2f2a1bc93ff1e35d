"""The comparison of models: its design, its data, and all statistics of it."""
