"""The paper's printed results, and where they contradict each other."""
