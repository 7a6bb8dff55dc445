"""Train object detectors on long-tailed data with the help of images that carry only a class label."""

__version__ = "0.1.0.dev0"
