"""Texts to search for go in; addresses of pictures come out, one file for each place that is searched."""
