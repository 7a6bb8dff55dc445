"""A batch in, weighted losses out: how a detector is taught."""
