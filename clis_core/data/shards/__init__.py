"""Shards of labelled pictures: written once, checked, read at random or as a stream."""
