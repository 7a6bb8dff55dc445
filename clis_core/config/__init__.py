"""What a run is: frozen models in plain Python, without torch."""
