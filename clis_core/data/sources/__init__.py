"""Labelled pictures, wherever they lie, in; one stream of members out."""
