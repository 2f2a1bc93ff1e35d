"""study.yaml: its nodes, what its values mean, its fields, and the file that is begun with."""
