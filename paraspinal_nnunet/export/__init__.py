"""Trained models made ready to travel, for nnU-Net's commands or without them."""
