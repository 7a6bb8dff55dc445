"""A PT2 archive in; nothing out if it holds weights and arithmetic alone, else an error.

`torch.export.load` trusts its file: it unpickles, loads compiled libraries, looks functions up by their names and
evaluates expressions. So everything of these kinds is looked at first, and only what clis's own files have passes.
"""

from __future__ import annotations

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clis_core.errors import CheckpointError

LARGEST_JSON = 64 * 2**20
_MEMBERS = re.compile(
    r"[^/]+/("
    r"models/model\.json|data/weights/weight_\d+|data/constants/tensor_\d+|data/sample_inputs/model\.pt|"
    r"data/(weights/model_weights|constants/model_constants)_config\.json|extra/clis\.json|"
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|version)"
)
_TARGETS = re.compile(
    r"torch\.ops\.(aten|torchvision)\.\w+\.\w+|torch\.sym_\w+|math\.(trunc|ceil|floor)|"
    r"_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|and_|or_|not_|eq|ne|lt|le|gt|ge|getitem)"
)
_FUNCTIONS = {
    *("Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Pow", "Max", "Min", "Mod", "FloorDiv", "CeilDiv"),
    *("CleanDiv", "PythonMod", "ModularIndexing", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not"),
    *("Equality", "Unequality", "LessThan", "StrictLessThan", "GreaterThan", "StrictGreaterThan", "TruncToInt"),
}
_NODES = (
    *(ast.Expression, ast.Call, ast.Name, ast.Constant, ast.keyword, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context),
)
_TREES = {None, "builtins.tuple", "builtins.list", "builtins.dict"}


def check_pt2(path: Path) -> None:
    """Check a PT2 file before it is opened.

    Raises:
        CheckpointError: it is missing, no PT2 file of clis, or holds what could execute code.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file.", hint="Make one: clis export RUN --format pt2 -o FILE")
    try:
        with zipfile.ZipFile(path) as archive:
            _check(archive, path)
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError, RecursionError, NotImplementedError) as error:
        raise CheckpointError(
            f"{path}: damaged, or not a PT2 file ({type(error).__name__}).",
            hint="Copy it again, or export it again: clis export RUN --format pt2 -o FILE",
        ) from error


def _check(archive: zipfile.ZipFile, path: Path) -> None:
    extra = 0
    names = archive.namelist()
    if len(set(names)) < len(names) or len({name.partition("/")[0] for name in names}) > 1:
        raise _refusal(
            path, "members of the same name, or several archives in one"
        )  # readers may differ on which counts
    for member in archive.infolist():
        inner = _MEMBERS.fullmatch(member.filename)
        if inner is None:
            raise _refusal(path, f"the member {member.filename!r}")
        if inner[1] == "data/sample_inputs/model.pt" and member.file_size:
            raise _refusal(path, "pickled sample inputs")
        extra += inner[1] == "extra/clis.json"
        if inner[1].endswith(".json"):
            if member.file_size > LARGEST_JSON:
                raise _refusal(path, f"{member.file_size} bytes in {inner[1]}")
            content = json.loads(archive.read(member))
            for key, value in _pairs(content) if inner[1] != "extra/clis.json" else ():
                _check_pair(path, key, value)
    if not extra:
        raise CheckpointError(
            f"{path}: a PT2 file of another program; what its inputs and outputs mean is not known.",
            hint="Files of clis come from: clis export RUN --format pt2 -o FILE",
        )


def _pairs(content: Any) -> Iterator[tuple[str, Any]]:
    """Every key of every table with its value, at any depth."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield key, value
            yield from _pairs(value)
    elif isinstance(content, list):
        for value in content:
            yield from _pairs(value)


def _check_pair(path: Path, key: str, value: Any) -> None:
    match key:
        case "use_pickle" if value:
            raise _refusal(path, "a pickle")
        case "path_name" if not re.fullmatch(r"(weight|tensor)_\d+", str(value)):
            raise _refusal(path, f"the payload {value!r}")
        case "target" | "as_operator" if isinstance(value, str) and not _TARGETS.fullmatch(value):
            raise _refusal(path, f"a call of {value!r}")
        case "expr_str":
            _check_expression(path, str(value))
        case "range_constraints":
            for expression in value:
                _check_expression(path, str(expression))
        case "guards_code":
            for guard in value:
                # L['images'].size()[2] is the one thing beyond arithmetic that they look at.
                plain = re.sub(r"L\['(images|sizes)'\]\.size\(\)\[\d\]", "1", str(guard))
                _check_expression(path, plain)
        case "in_spec" | "out_spec":
            if not {v for k, v in _pairs(json.loads(value)) if k == "type"} <= _TREES:
                raise _refusal(path, "arguments of a class")
        case "treespec_namedtuple_fields" | "custom_obj_values" if value:
            raise _refusal(path, f"{key}")


def _check_expression(path: Path, text: str) -> None:
    """Numbers, symbols, arithmetic and the functions of symbolic sizes, and nothing else."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except SyntaxError as error:
        raise _refusal(path, f"the expression {text[:60]!r}") from error
    for node in nodes:
        fine = isinstance(node, _NODES)
        if isinstance(node, ast.Call):
            fine = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
        elif isinstance(node, ast.Name):
            fine = node.id in _FUNCTIONS or re.fullmatch(r"[suz]+\d+|True|False", node.id) is not None
        elif isinstance(node, ast.Constant):
            fine = isinstance(node.value, int | float) or bool(re.fullmatch(r"[suz]+\d+", str(node.value)))
        if not fine:
            raise _refusal(path, f"the expression {text[:60]!r}")


def _refusal(path: Path, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: not opened, since it holds {what}, which no file of clis does and which could execute code.",
        hint="Open only PT2 files that you made: clis export RUN --format pt2 -o FILE",
    )
