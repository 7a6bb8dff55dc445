"""Pages that are written by hand, and the programs that write the others from the code."""
