"""Tests, and the drawn data sets that they use."""
