"""Images in, detections out: all that ships."""
