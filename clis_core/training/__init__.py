"""The loop that steps a method, and what it keeps on disk."""
