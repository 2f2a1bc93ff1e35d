"""What is read, checked and done to images on their way in."""
