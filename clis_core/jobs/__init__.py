"""One public function per command: the Python API."""
