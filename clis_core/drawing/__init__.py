"""Boxes and captions on pictures, for people to look at."""
