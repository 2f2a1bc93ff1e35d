"""Findings on cases, on the data set, on volumes, on copies and on folds."""
