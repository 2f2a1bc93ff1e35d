"""What every room uses and none owns: files written whole, archives, text, tables, worker processes, memory."""
