"""Trunks drawn at random with contrast painted at random: what the default model learns from."""
