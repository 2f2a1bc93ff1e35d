"""Converters: from the folders that people have to nnU-Net data sets whose left is really left."""
