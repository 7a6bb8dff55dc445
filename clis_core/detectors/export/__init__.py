"""A detector in files that other programs run: ONNX, PT2, and weights alone."""
