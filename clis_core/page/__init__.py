"""Runs and their evaluations in, one self-contained HTML page out."""
