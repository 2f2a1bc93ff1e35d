"""Statistical analyses, each a function from tables to tables."""
