"""What is done with label maps as wholes: clean-ups, and boxes around some muscles of them."""
