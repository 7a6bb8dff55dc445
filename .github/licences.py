"""The packages that are installed beside clis go in; those whose licence does not let everybody use them come out.

    python .github/licences.py

Needs the standard library alone. Exit code 1 where a licence is not known to be permissive.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterable

ALLOWED = re.compile(
    r"\b(apache|mit|mit-0|bsd|[0-9]-clause|bsd-[23]-clause|isc|psf|psf-2\.0|python software foundation|python-2\.0"
    r"|mpl-2\.0|mozilla public license 2\.0|hpnd|mit-cmu|zlib|unlicense|cc0-1\.0|0bsd|cnri-python|freebsd"
    r"|boost software license)\b",
    re.IGNORECASE,
)
REFUSED = re.compile(r"\b(a?gpl|affero|gnu general public|sspl|busl|non-?commercial|cc-by-nc)", re.IGNORECASE)
LINKED = re.compile(r"\b(lgpl|lesser)", re.IGNORECASE)
WORDS = {
    "Redistribution and use in source and binary forms, with or without modification, are permitted": "BSD",
    "Permission is hereby granted, free of charge, to any person obtaining a copy": "MIT",
    "Apache License Version 2.0": "Apache",
}
"""Words of licences, for packages that bring the text alone."""
BY_HAND = {
    # Packages that do not state a licence in a form that can be read, and what their own repositories say.
    "nvidia": "NVIDIA's terms, which come with torch's builds for its GPUs; builds for the CPU have none of it",
    "cuda": "likewise",
    "triton": "MIT",
}


def statements(package: importlib.metadata.Distribution) -> list[str]:
    """What a package says of its licence: the expression, the classifiers, the text's first line."""
    about = package.metadata
    found = [about.get("License-Expression") or ""]
    found += [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License :: ")]
    found.append((about.get("License") or "").strip().partition("\n")[0])
    found = [text for text in found if text and text not in ("UNKNOWN", "OSI Approved")]
    return found or [name for name in map(_of_text, _texts(package)) if name]


def _texts(package: importlib.metadata.Distribution) -> list[str]:
    files = [file for file in package.files or [] if re.match(r"(licen[cs]e|copying)", file.name, re.IGNORECASE)]
    return [package.locate_file(file).read_text(errors="replace") for file in files]  # type: ignore[attr-defined]


def _of_text(text: str) -> str:
    """The name of a licence by its words."""
    return next((name for words, name in WORDS.items() if words in " ".join(text.split())), "")


def problem(name: str, said: Iterable[str]) -> str | None:
    """Why a package cannot be relied on; None where it can."""
    texts = list(said)
    if any(name.lower().startswith(known) for known in BY_HAND):
        return None
    if not texts:
        return "states no licence"
    expression = " or ".join(texts)
    if REFUSED.search(expression) and not ALLOWED.search(expression) and not LINKED.search(expression):
        return f"is under {expression}"
    if not ALLOWED.search(expression) and not LINKED.search(expression):
        return f"is under a licence that is not on the list: {expression[:100]}"
    return None


def main() -> int:
    """Look at every installed package."""
    packages = sorted(importlib.metadata.distributions(), key=lambda each: each.metadata["Name"].lower())
    bad = 0
    for package in packages:
        name, said = package.metadata["Name"], statements(package)
        why = problem(name, said)
        bad += why is not None
        print(f"{'NO ' if why else 'ok '} {name} {package.version}: {why or ' | '.join(said) or BY_HAND.get(name, '')}")
    print(f"{len(packages)} packages, {bad} that cannot be relied on.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
