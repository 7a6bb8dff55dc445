"""A PT2 archive that could execute code is refused before torch opens it; each kind is one that torch would act on."""

import io
import json
import pickle
import zipfile

import pytest
import torch

from clis_core.detectors.export.pt2_check import check_pt2
from clis_core.detectors.load import load_model
from clis_core.errors import CheckpointError

MODEL, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


class Evil:
    def __reduce__(self):
        return (eval, ("__import__('os').environ.setdefault('CLIS_EVIL', '1')",))


def rewritten(source, target, change=lambda name, content: content, more=()):
    """A copy of an archive with its json files passed through ``change``, and more members."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        prefix = old.namelist()[0].partition("/")[0]
        for name in old.namelist():
            data = old.read(name)
            inner = name.partition("/")[2]
            if inner.endswith(".json"):
                data = json.dumps(change(inner, json.loads(data))).encode()
            new.writestr(name, data)
        for name, data in more:
            new.writestr(f"{prefix}/{name}", data)
    return target


def test_what_clis_writes_passes_also_after_a_rewrite(pt2_path, tmp_path):
    check_pt2(pt2_path)
    load_model(rewritten(pt2_path, tmp_path / "m.pt2"))


def pickled():
    buffer = io.BytesIO()
    torch.save({"x": Evil()}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "named"),
    [
        ("data/weights/model.pt", pickled(), "data/weights/model.pt"),
        ("data/constants/model.pt", pickled(), "data/constants/model.pt"),
        ("data/constants/opaque_obj_0", pickle.dumps(Evil()), "opaque_obj_0"),
        ("data/aotinductor/model/x.so", b"\x7fELF", "x.so"),
        ("models/other.json", b"{}", "models/other.json"),
        ("../../evil.json", b"{}", "evil.json"),
        (MODEL, b"{}", "of the same name"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_do_not_belong(pt2_path, tmp_path, name, data, named):
    path = rewritten(pt2_path, tmp_path / "m.pt2", more=[(name, data)])
    with pytest.raises(CheckpointError, match=named) as caught:
        load_model(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_sample_inputs_that_are_pickled(pt2_path, tmp_path):
    with zipfile.ZipFile(pt2_path) as old, zipfile.ZipFile(tmp_path / "m.pt2", "w") as new:
        for name in old.namelist():
            new.writestr(name, pickled() if "sample_inputs" in name else old.read(name))
    with pytest.raises(CheckpointError, match="sample inputs"):
        check_pt2(tmp_path / "m.pt2")


def first_node(content):
    return content["graph_module"]["graph"]["nodes"][0]


def changed(where, change):
    def apply(name, content):
        if name == where:
            change(content)
        return content

    return apply


def call(target):
    return changed(MODEL, lambda m: first_node(m).update(target=target))


def expression(text):
    def put(model):
        value = {"as_int": {"as_expr": {"expr_str": text, "hint": None}}}
        model["graph_module"]["graph"]["sym_int_values"]["evil"] = value

    return changed(MODEL, put)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (call("torch.hub.load"), "a call of 'torch.hub.load'"),
        (call("torch.ops.higher_order.x"), "a call of"),
        (call("_operator.methodcaller"), "a call of"),
        (call("os.system"), "a call of"),
        (expression("__import__('os').system('true')"), "the expression"),
        (expression("Symbol('__import__(\"os\")')"), "the expression"),
        (expression("().__class__"), "the expression"),
        (expression("Integer(1); 2"), "the expression"),
        (expression("[1 for _ in (1,)]"), "the expression"),
        (changed(MODEL, lambda m: m["guards_code"].append("__import__('os').system('true')")), "the expression"),
        (changed(MODEL, lambda m: m["guards_code"].append("L['images'].numpy()")), "the expression"),
        (changed(MODEL, lambda m: m["range_constraints"].update({"exit()": {}})), "the expression"),
        (changed(WEIGHTS, lambda c: next(iter(c["config"].values())).update(use_pickle=True)), "a pickle"),
        (changed(CONSTANTS, lambda c: next(iter(c["config"].values())).update(path_name="opaque_obj_0")), "payload"),
        (
            changed(
                MODEL,
                lambda m: m["graph_module"]["module_call_graph"][0]["signature"].update(
                    in_spec='[1, {"type": "collections.namedtuple", "context": "x", "children_spec": []}]'
                ),
            ),
            "arguments of a class",
        ),
    ],
)
def test_contents_that_would_be_executed(pt2_path, tmp_path, change, named):
    path = rewritten(pt2_path, tmp_path / "m.pt2", change)
    with pytest.raises(CheckpointError, match=named.replace("(", r"\(")):
        load_model(path)


def test_a_pt2_file_of_another_program(tmp_path):
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), tmp_path / "m.pt2")
    with pytest.raises(CheckpointError):
        load_model(tmp_path / "m.pt2")


def test_deeply_nested_json(pt2_path, tmp_path):
    with zipfile.ZipFile(pt2_path) as old, zipfile.ZipFile(tmp_path / "m.pt2", "w") as new:
        for name in old.namelist():
            new.writestr(name, b"[" * 200_000 if name.endswith(MODEL) else old.read(name))
    with pytest.raises(CheckpointError, match="damaged"):
        check_pt2(tmp_path / "m.pt2")
