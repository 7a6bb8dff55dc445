"""A file of detections read in blocks of whole images, against the file read at once."""

import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from clis_core.errors import DataError
from clis_core.evaluation.blocks import detections_of_images, read_blocks
from clis_core.evaluation.detections import Detections
from clis_core.evaluation.parts import Parts
from clis_core.evaluation.rles import Rles
from clis_core.jobs.bench.lvis_eval import synthetic_detections, synthetic_truth
from tests.evaluation.odd_world import odd_detections

COLUMNS = ("image_ids", "category_ids", "boxes", "scores")


def by_image(found: Detections) -> Detections:
    order = np.argsort(found.image_ids, kind="stable")
    return Detections(*(getattr(found, name)[order] for name in COLUMNS))


@pytest.fixture
def file(tmp_path):
    by_image(odd_detections(synthetic_truth(7, 5), 13, 0)).save(tmp_path / "found.npz")
    return tmp_path / "found.npz"


@pytest.mark.parametrize("rows", [1, 5, 13, 40, 10**6])
def test_blocks_hold_whole_images_and_are_the_file(file, rows):
    blocks, whole = list(read_blocks(file, rows)), Detections.load(file)
    for name in COLUMNS:
        assert np.concatenate([getattr(b, name) for b in blocks]).tolist() == getattr(whole, name).tolist()
    images = [set(b.image_ids.tolist()) for b in blocks]
    assert sum(map(len, images)) == len(set.union(*images)), "an image is in one block"
    largest = np.unique(whole.image_ids, return_counts=True)[1].max()
    assert max(map(len, blocks)) <= rows + largest
    assert len(blocks) >= min(len(whole) // (rows + largest), len(images))


def test_a_file_that_parts_were_joined_to(tmp_path):
    found = by_image(synthetic_detections(synthetic_truth(6, 5), 9))
    ids = sorted(set(found.image_ids.tolist()))
    parts = Parts(tmp_path / "parts", 6, 4)
    parts.begin({})
    for part in range(len(parts)):
        parts.write(part, found.only(np.isin(found.image_ids, [ids[i] for i in parts.images_of(part)])), None)
    parts.join(tmp_path / "joined.npz", {})
    assert sum(len(b) for b in read_blocks(tmp_path / "joined.npz", 10)) == len(found) == 54


@pytest.mark.parametrize("rows", [1, 10, 10**6])
def test_detections_of_some_images(file, rows):
    whole = Detections.load(file)
    wanted = [whole.image_ids[0].item(), whole.image_ids[-1].item(), 10**9]
    found = detections_of_images(file, wanted, rows)
    expected = whole.only(np.isin(whole.image_ids, wanted))
    for name in COLUMNS:
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()
    assert 0 < len(found) < len(whole)
    assert len(detections_of_images(file, [], rows)) == 0


def test_no_detections(tmp_path):
    nothing = np.zeros(0, np.float32)
    Detections(np.zeros(0, np.int64), np.zeros(0, np.int32), nothing.reshape(0, 4), nothing).save(tmp_path / "a.npz")
    assert list(read_blocks(tmp_path / "a.npz")) == []
    assert len(detections_of_images(tmp_path / "a.npz", [1])) == 0


@pytest.mark.parametrize("rows", [2, 10**6])
def test_images_that_do_not_stand_together_are_refused(tmp_path, rows):
    ids = np.array([1, 1, 2, 2, 1])
    Detections(ids, ids.astype(np.int32), np.zeros((5, 4), np.float32), np.ones(5, np.float32)).save(tmp_path / "a.npz")
    with pytest.raises(DataError, match="do not stand together"):
        list(read_blocks(tmp_path / "a.npz", rows))


def rewritten(file, **members):
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for name, array in members.items():
        data = io.BytesIO()
        np.lib.format.write_array(data, array, allow_pickle=True)
        content[f"{name}.npy"] = data.getvalue()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def header(**fields):
    return np.frombuffer(json.dumps(fields).encode(), np.uint8)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"scores": np.ones(3, np.float32)}, "not equally long"),
        ({"scores": np.array([None] * 91)}, "scores is object"),
        ({"boxes": np.ones((91, 3), np.float32)}, "boxes is float32"),
        ({"boxes": np.asfortranarray(np.ones((91, 4), np.float32))}, "by columns"),
        ({"image_ids": np.array(5)}, "image_ids is int64"),
        ({"header": header(format="clis-detections", version=2, meta={})}, "version 2"),
        ({"header": header(format="clis-detections")}, "no whole file"),
        ({"header": np.zeros(1 << 21, np.uint8)}, "header is too long"),
    ],
)
def test_files_of_another_form_are_refused(file, members, words):
    rewritten(file, **members)
    with pytest.raises(DataError, match=words) as error:
        list(read_blocks(file))
    assert error.value.hint


def test_damaged_and_missing_files_are_refused(file, tmp_path):
    data = file.read_bytes()
    for cut in (0, 10, 200, len(data) // 2, len(data) - 5):
        file.write_bytes(data[:cut])
        with pytest.raises(DataError, match="no whole file"):
            list(read_blocks(file))
    with pytest.raises(DataError, match="There is no file"):
        list(read_blocks(tmp_path / "none.npz"))
    at = data.index(b"scores.npy") + 300  # inside the array: the archive's own checksum tells
    file.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    with pytest.raises(DataError, match="no whole file"):
        list(read_blocks(file))


def masked(found: Detections) -> Detections:
    """Each with a mask of its own, of odd lengths."""
    masks = [{"size": [9, 40], "counts": b"".join([b"0"] * (k % 7) + [b"X"])} for k in range(len(found))]
    return replace(found, masks=Rles.of(masks))


@pytest.mark.parametrize("rows", [1, 5, 13, 10**6])
def test_masks_of_some_images_are_those_of_the_file(file, tmp_path, rows):
    masked(Detections.load(file)).save(tmp_path / "masked.npz")
    whole = Detections.load(tmp_path / "masked.npz")
    wanted = np.unique(whole.image_ids)[::2]
    found = detections_of_images(tmp_path / "masked.npz", wanted.tolist(), rows)
    assert found.masks.records() == whole.only(np.isin(whole.image_ids, wanted)).masks.records()
    assert all(block.masks is None for block in read_blocks(tmp_path / "masked.npz", rows)), "they are not needed"


@pytest.mark.parametrize("lengths", [-1, 2**30, 10**5])
def test_lengths_of_masks_that_cannot_be(file, tmp_path, lengths):
    found = masked(Detections.load(file))
    found.save(tmp_path / "masked.npz")
    wrong = np.full(len(found), lengths, np.int32)
    replace_member(tmp_path / "masked.npz", "mask_lengths.npy", wrong)
    with pytest.raises(DataError, match="no whole file of detections"):
        detections_of_images(tmp_path / "masked.npz", found.image_ids.tolist())


def replace_member(path, name, array):
    with zipfile.ZipFile(path) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    out = io.BytesIO()
    np.save(out, array)
    with zipfile.ZipFile(path, "w") as archive:
        for n, data in {**members, name: out.getvalue()}.items():
            archive.writestr(n, data)
