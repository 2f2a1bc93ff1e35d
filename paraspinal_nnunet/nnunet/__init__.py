"""nnU-Net as it is found: its commands, folders, data sets and folds, and what lets it find our trainers."""
