"""Detections and ground truth in, metrics out."""
