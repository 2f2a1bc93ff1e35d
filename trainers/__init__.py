"""nnU-Net trainers, each of which enforces one choice of the protocol by name."""
