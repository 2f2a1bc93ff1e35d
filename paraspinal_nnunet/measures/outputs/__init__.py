"""What measuring writes: the columns of its tables, the tables, curves and plots, and their files."""
