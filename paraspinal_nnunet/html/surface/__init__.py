"""The muscles as surfaces: their meshes, and the views of them."""
