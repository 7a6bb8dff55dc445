"""Each module with a `run(scale)` measures one thing that clis claims and returns what it saw; the rest they share."""
