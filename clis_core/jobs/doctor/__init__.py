"""`clis doctor`: each module looks at one part of a machine, and `examine` at all of them."""
