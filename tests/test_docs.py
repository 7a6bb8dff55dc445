"""The README and the docs name only commands, options, settings and presets that there are."""

import ast
import errno
import os
import re
import shlex
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from clis_cli.app import app
from clis_core.config.load import command_layer, preset_layer, resolve
from tests.cli.test_help import leaves

ROOT = Path(__file__).parents[1]
GROUP: Any = typer.main.get_command(app)
COMMANDS = leaves(GROUP.commands)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PLACEHOLDERS = {"PRESET": "baseline-small", "SEED": "0"}


def commands(page: Path) -> list[str]:
    """Each command of clis in the page's shell blocks, and in its running text where it has arguments."""
    text = page.read_text(encoding="utf-8")
    lines = [
        re.sub(r"^torchrun .*? -m clis_cli ", "clis ", part.strip().removeprefix(".venv/bin/"))
        for block in re.findall(r"```sh\n(.*?)```", text, re.S)
        for line in block.replace("\\\n", " ").splitlines()
        for part in line.partition(" #")[0].partition(" > ")[0].split("&&")
    ]
    inline = re.findall(r"`(clis [a-z-]+ [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S))
    inline = [line for line in inline if line.removeprefix("clis ") not in COMMANDS]  # a name alone, of two words
    return [line for line in [*lines, *inline] if line.startswith("clis ") and "[" not in line.replace("=[", "")]


LINES = [pytest.param(line, id=f"{page.name}: {line}") for page in PAGES for line in commands(page)]


@pytest.mark.parametrize("line", LINES)
def test_a_written_command_parses_and_its_settings_exist(line: str) -> None:
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(line)[1:]]
    if words[0].startswith("-"):
        assert all(any(word in option.opts for option in GROUP.params) for word in words)
        return
    count = 1 if words[0] in COMMANDS else 2
    command = COMMANDS[" ".join(words[:count])]
    given = command.make_context(words[0], words[count:], resilient_parsing=False).params
    layers = [preset_layer(given["preset"])] if given.get("preset") else []
    resolve([*layers, command_layer(given.get("settings") or [])])


def examples(language: str) -> list[str]:
    """Files of schedulers on the page of many GPUs."""
    text = (ROOT / "docs" / "multi-gpu.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def check_words(words: list[str]) -> None:
    """Check that what torchrun starts is a command of clis with options that there are."""
    start = words.index("clis_cli") + 1
    assert words[start - 1 - 1 :][:1] == ["-m"]
    COMMANDS[words[start]].make_context(words[start], words[start + 1 :], resilient_parsing=False)


def test_the_batch_file_of_slurm_is_bash_and_its_command_parses() -> None:
    (script,) = examples("bash")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert script.startswith("#!/bin/bash\n#SBATCH ")
    (line,) = [x for x in script.replace("\\\n", " ").splitlines() if x.startswith("srun ")]
    check_words(shlex.split(line))


def test_the_job_of_kubernetes_is_yaml_and_its_command_parses() -> None:
    (text,) = examples("yaml")
    service, job = yaml.safe_load_all(text)
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    pod = job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    (container,) = pod["containers"]
    assert f"--nnodes={job['spec']['completions']}" in container["args"]
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    check_words(container["command"] + container["args"])


def test_there_are_such_lines() -> None:
    assert {line.values[0].split()[1] for line in LINES} >= {"train", "eval", "presets"}  # type: ignore[union-attr]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def texts_of_the_code() -> str:
    """Every text in the packages, what is put into one as "\0", with what the system says of a disk."""
    found = [os.strerror(errno.ENOSPC) + ": \0", os.strerror(errno.EACCES) + ": \0"]
    for path in [p for top in ("clis_cli", "clis_core") for p in (ROOT / top).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "\0" for v in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n\n".join(found)


def messages() -> list[str]:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `([^`]+)` \|", text, re.M)


def test_each_message_of_troubleshooting_is_one_of_the_code() -> None:
    texts, quoted = texts_of_the_code(), messages()
    assert len(quoted) > 40
    rows = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").count("\n| ")
    assert rows - 6 == len(quoted)  # each row quotes one
    for message in quoted:
        words = [re.escape(part) for part in message.split("...")]
        assert re.search("[^\n]*\0[^\n]*".join(words), texts), message


def test_addresses_are_whole() -> None:
    """Nothing is fetched: what a test can say of an address is that it is one."""
    for page in PAGES:
        for address in re.findall(r"https?://[^\s)>\"'`\]]+", re.sub(r"(?s)```.*?```", "", page.read_text("utf-8"))):
            parts = urllib.parse.urlsplit(address)
            assert parts.hostname, (page.name, address)
            assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", parts.hostname), (page.name, address)


def test_the_index_has_every_page_and_shows_it_where_pages_are_only_read() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    in_tree = {name for block in re.findall(r"(?s)```\{toctree\}.*?\n\n(.*?)```", text) for name in block.split()}
    linked = {target.removesuffix(".md") for target in re.findall(r"^\| \[[^\]]+\]\(([^)]+)\)", text, re.M)}
    assert in_tree == linked
    pages = {page.relative_to(ROOT / "docs").with_suffix("").as_posix(): page for page in PAGES[1:]}
    of_their_own = {name for name in pages if name.startswith(("commands/", "settings/"))} | {"index"}
    orphans = {name for name, page in pages.items() if "orphan: true" in page.read_text(encoding="utf-8")}
    assert pages.keys() - of_their_own - orphans <= linked
