"""File name patterns, and the pairs of images and labels that they find."""
