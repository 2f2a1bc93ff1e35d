"""What label values mean: names, files that state them, masks per structure, sides."""
