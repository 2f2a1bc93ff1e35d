"""Where muscles lie in the body: each on its side of the midline, and in the right place to the others."""
