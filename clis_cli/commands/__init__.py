"""One file per command; each parses its options and calls one job of clis_core."""
