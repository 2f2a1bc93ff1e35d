"""What a training consists of: batches, loss, optimiser, augmentation, its run and its record."""
