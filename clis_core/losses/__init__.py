"""Logits in, a scalar out: one loss, one paper, one file."""
