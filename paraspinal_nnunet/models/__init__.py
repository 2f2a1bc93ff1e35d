"""Models on disk: trained folders, exported archives, their manifests and checkpoints."""
