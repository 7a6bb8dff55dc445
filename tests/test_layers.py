"""Imports point down: the stack of the architecture page, read off the source by `ast`."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = [  # top first; packages of one row do not import each other
    ["clis_cli.__main__"],
    ["clis_cli.app"],
    ["clis_cli.commands"],
    ["clis_cli.options", "clis_cli.console"],
    ["clis_core.jobs"],
    ["clis_core.page"],
    ["clis_core.training", "clis_core.evaluation"],
    ["clis_core.methods"],
    ["clis_core.detectors", "clis_core.data"],
    ["clis_core.losses"],
    ["clis_core.batch"],
    ["clis_core.config"],
    ["clis_core.categories", "clis_core.report", "clis_core.drawing"],
    ["clis_core.errors", "clis_core.files"],
]
PLACE = {package: row for row, packages in enumerate(ROWS) for package in packages}
TORCH_LINE = PLACE["clis_core.batch"]
SOURCES = [p for top in ("clis_cli", "clis_core") for p in sorted((ROOT / top).rglob("*.py"))]


def package_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imports(tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            found += below if node.module in ("clis_core", "clis_cli") else [node.module or ""]
    return [name for name in found if name not in ("clis_core.__version__",)]


def problems(path: Path) -> list[str]:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    here, found = package_of(module), []
    if here in ("clis_core", "clis_cli"):  # their __init__ is imported by all, so it imports nothing of ours
        return [f"{module} imports {name}" for name in imports(tree) if not name.startswith("__")]
    for name in imports(tree):
        there = package_of(name)
        if name.startswith(("clis_core", "clis_cli")) and there != here and PLACE[there] <= PLACE[here]:
            found.append(f"{module} imports {name}, which is not below it")
        if name.split(".")[0] in ("torch", "torchvision") and (PLACE[here] > TORCH_LINE or here.startswith("clis_cli")):
            found.append(f"{module} imports {name}")
    for node in ast.walk(tree) if here.startswith("clis_core") else ():
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.exit", "exit", "quit"):
            found.append(f"{module} calls {ast.unparse(node.func)} in line {node.lineno}")
    return found


def test_imports_point_down() -> None:
    assert [line for path in SOURCES for line in problems(path)] == []


def test_the_config_imports_without_torch() -> None:
    modules = "clis_core.config.workspace, clis_core.config.resume, clis_core.report, clis_core.categories"
    code = f"import sys, {modules}; assert not {{'torch', 'torchvision'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
