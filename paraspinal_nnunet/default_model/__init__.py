"""The model that comes with the program: its recipe, its training on drawn trunks, and its packing."""
