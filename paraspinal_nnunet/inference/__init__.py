"""New scans: what is found in an input, how a model of either kind segments it, and what is written of each case."""
