"""Tables for readers: frozen, rounded, in four formats."""
