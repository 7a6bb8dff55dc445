"""The command line of clis: parse, call one job, print."""
