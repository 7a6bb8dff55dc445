"""Each module measures one thing that clis claims: `run(scale)` returns what it saw."""
