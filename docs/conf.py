"""Settings of the documentation: `sphinx-build -W -b html docs site`."""

project = "clis"
copyright = "2026, the clis developers"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
html_theme = "furo"
html_title = "clis"
nitpicky = True
myst_heading_anchors = 3
