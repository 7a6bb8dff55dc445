"""What is wrong with annotations, images and shards: the parts of `clis data check`."""
