"""What comes with a detection image: labels and regions follow their pictures, the same whoever loads it and when."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clis_core.batch import Batch, Companions, Patch, Verified
from clis_core.categories import Categories, Category
from clis_core.config.data import DataConfig, RepeatFactor
from clis_core.config.pictures import PicturesConfig
from clis_core.data.companions import CompanionLoader, PictureSet, add_patches, assemble, open_pictures, with_patches
from clis_core.data.layout import Split, open_split
from clis_core.data.loader import TrainingLoader
from clis_core.data.paste import cut_patch, draw_patch
from clis_core.data.segmentations import Segmentations
from clis_core.data.shards.reader import Shards
from clis_core.data.shards.sampling import PictureSampler
from clis_core.errors import ConfigError, DataError
from tests.data.painted import CATEGORIES, PAINTS, find, painted_shards, write_regions

IMAGE = (120, 160)


def config(folder: Path, **fields: Any) -> PicturesConfig:
    return PicturesConfig.model_validate(
        {"shards": folder, "s": 8, "t": 2, "mosaic": 128, "cutout": 0.0, "paste": {"mode": "opaque"}, **fields}
    )


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return painted_shards(tmp_path_factory.mktemp("pictures") / "shards")


def pictures(shards: Shards, categories: Categories = CATEGORIES, **fields: Any) -> PictureSet:
    return open_pictures(config(shards.folder, **fields), categories, shards)


def companions(shards: Shards, position: int, seed: int = 0, **fields: Any) -> Companions:
    loader = CompanionLoader(pictures(shards), config(shards.folder, **fields), seed, 100)
    return assemble(list(loader.load(position, IMAGE)))


@pytest.mark.parametrize("position", [0, 1, 5, 10**6])
def test_labels_and_regions_follow_their_pictures(shards: Shards, position: int) -> None:
    found = companions(shards, position)
    assert len(found.mosaics) == 2
    labels = []
    for mosaic in found.mosaics:
        assert mosaic.pixels.shape == (3, 128, 128)
        assert (mosaic.regions.dtype, mosaic.labels.dtype) == (torch.float32, torch.int64)
        for place, (region, label) in enumerate(zip(mosaic.regions, mosaic.labels.tolist(), strict=True)):
            row, column = place // 2 * 64, place % 2 * 64
            cell = mosaic.pixels[:, row : row + 64, column : column + 64]
            seen = np.array(find(cell, PAINTS[label - 1])) + np.array([column, row] * 2)
            np.testing.assert_allclose(seen, region.numpy(), atol=1.5)
            labels.append(label)
    assert len(found.patches) == 2
    assert len({p.source for p in found.patches}) == 2
    for patch in found.patches:
        assert patch.label == labels[patch.source]
        image = torch.zeros((3, *IMAGE), dtype=torch.uint8)
        height, width = patch.pixels.shape[-2:]
        image[:, patch.top : patch.top + height, patch.left : patch.left + width] = patch.pixels
        np.testing.assert_allclose(find(image, PAINTS[patch.label - 1], (0, 0, 0)), patch.box.numpy(), atol=1.6)


def test_every_picture_comes_once_an_epoch(shards: Shards) -> None:
    found = [label for p in range(3) for m in companions(shards, p).mosaics for label in m.labels.tolist()]
    assert sorted(found) == sorted(pictures(shards).labels.tolist())  # 24 pictures = 3 images of 8


def test_a_function_of_seed_and_position(shards: Shards) -> None:
    a, b, c, d = (companions(shards, position, seed) for position, seed in ((3, 0), (3, 0), (3, 1), (4, 0)))
    assert equal(a, b)
    assert not equal(a, c)
    assert not equal(a, d)


def equal(a: Companions, b: Companions) -> bool:
    def values(found: Companions) -> list[Any]:
        return [v for item in (*found.mosaics, *found.patches) for v in item]

    return len(values(a)) == len(values(b)) and all(
        torch.equal(x, y) if isinstance(x, torch.Tensor) else x == y for x, y in zip(values(a), values(b), strict=True)
    )


def test_each_picture_is_scaled_and_placed_on_its_own(shards: Shards) -> None:
    loader = CompanionLoader(pictures(shards, regions="full-image"), config(shards.folder, scale=(0.3, 1.0)), 0, 100)
    found = assemble(list(loader.load(0, IMAGE)))
    regions = torch.cat([m.regions for m in found.mosaics])
    longest = (regions[:, 2:] - regions[:, :2]).amax(dim=1)
    assert len(longest.unique()) == len(longest) == 8
    assert longest.max() - longest.min() > 10


def test_pasted_pictures_are_decoded_as_large_as_the_patch_needs(tmp_path: Path) -> None:
    shards = painted_shards(tmp_path / "large", 4, shards=1, sides=(700, 800))
    paste = {"side": (0.5, 0.5), "margin": (1.0, 1.0), "flip": 0.0}
    settings = config(shards.folder, s=4, t=4, paste=paste)
    found = assemble(list(CompanionLoader(pictures(shards), settings, 0, 100).load(0, (1200, 1200)))).patches
    chosen = PictureSampler(pictures(shards).labels, 0, "uniform")(np.arange(4)).tolist()
    for patch in found:
        number = chosen[patch.source]
        drawn = draw_patch(0, patch.source, (1200, 1200), settings.paste)
        region = pictures(shards).regions.box(number)
        whole = cut_patch(drawn, shards.image(number), region, patch.label, patch.source, (1200, 1200))
        assert torch.equal(patch.pixels, whole.pixels)  # of 600 pixels: half the size would not do


@pytest.mark.parametrize(("s", "t"), [(0, 0), (4, 0), (4, 4), (16, 1)])
def test_s_and_t(shards: Shards, s: int, t: int) -> None:
    found = companions(shards, 0, s=s, t=t)
    assert (len(found.mosaics), len(found.patches)) == (s // 4, t)


def test_fewer_pictures_than_s(tmp_path: Path) -> None:
    few = painted_shards(tmp_path / "few", 3, shards=1)
    found = companions(few, 0, s=16, t=4)
    labels = [label for m in found.mosaics for label in m.labels.tolist()]
    assert len(labels) == 16
    assert sorted(labels[:3]) == sorted(labels[3:6]) == [1, 2, 3]
    assert len(found.patches) == 4


def test_one_class_only(tmp_path: Path) -> None:
    one = Categories([Category(4, "only", images=7)])
    shards = painted_shards(tmp_path / "one", 5, categories=one, shards=1)
    loader = CompanionLoader(open_pictures(config(shards.folder), one, shards), config(shards.folder), 0, 100)
    found = assemble(list(loader.load(0, IMAGE)))
    assert {label for m in found.mosaics for label in m.labels.tolist()} == {1}
    assert {p.label for p in found.patches} == {1}


def test_rare_classes_are_picked_first(shards: Shards) -> None:
    for position in range(6):
        found = companions(shards, position, paste={"pick": "rare"})
        labels = [label for m in found.mosaics for label in m.labels.tolist()]
        images = [CATEGORIES[label - 1].images or 0 for label in labels]
        assert sorted(images[p.source] for p in found.patches) == sorted(images)[:2]


def test_class_balanced_order(tmp_path: Path) -> None:
    many = Categories([Category(1, "a", images=3), Category(2, "b", images=3)])
    shards = painted_shards(tmp_path / "s", 8, categories=many, shards=1)
    first = pictures(shards, many)
    few = first._replace(numbers=first.numbers[first.labels == 1][:1], labels=first.labels[first.labels == 1][:1])
    kept = np.flatnonzero(first.labels == 2)
    uneven = few._replace(
        numbers=np.concatenate([few.numbers, first.numbers[kept]]),
        labels=np.concatenate([few.labels, first.labels[kept]]),
    )
    settings = config(shards.folder, order="class-balanced")
    found = [
        label
        for position in range(4)
        for m in assemble(list(CompanionLoader(uneven, settings, 0, 100).load(position, IMAGE))).mosaics
        for label in m.labels.tolist()
    ]
    assert found.count(1) == found.count(2) == 16


def test_labels_are_those_of_the_data_set(shards: Shards) -> None:
    others = Categories(
        [Category(1, "ant", images=1), Category(5, "cat", images=3), Category(8, "dog", images=4), Category(70, "yak")]
    )
    found = pictures(shards, others)
    assert set(found.labels.tolist()) == {2, 3}  # bagel and eel are none of its classes
    for number, label in zip(found.numbers.tolist(), found.labels.tolist(), strict=True):
        assert shards.categories[int(shards.labels[number]) - 1].id == others[label - 1].id
    assert found.images.tolist() == [1, 3, 4, 0]


def test_shards_of_another_data_set_are_refused(shards: Shards) -> None:
    with pytest.raises(DataError, match=r"'cat' in the shards .* and 'lion' in the data set") as caught:
        pictures(shards, Categories([Category(5, "lion")]))
    assert "clis build-imagenet-subset" in (caught.value.hint or "")
    with pytest.raises(DataError, match="no picture of a class of the data set"):
        pictures(shards, Categories([Category(77, "yak")]))


def test_regions_must_be_there_and_of_these_shards(shards: Shards, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished regions") as caught:
        pictures(shards, regions=str(tmp_path / "nothing"))
    assert "clis gen-regions --detector RUN" in (caught.value.hint or "")
    other = painted_shards(tmp_path / "other", 8, shards=1)
    with pytest.raises(DataError, match="of other shards") as caught:
        pictures(shards, regions=str(tmp_path / "other-regions"))
    assert "-o FOLDER" in (caught.value.hint or "")
    whole = pictures(other, regions="full-image")
    assert whole.regions.box(3).tolist() == [0, 0, 1, 1]


def test_fraction_takes_the_same_part_of_each_class(tmp_path: Path) -> None:
    shards = painted_shards(tmp_path / "s", 80, shards=2, regions=False)
    parts = {f: pictures(shards, regions="centre", fraction=f) for f in (0.01, 0.1, 0.5, 1.0)}
    sizes = {f: np.bincount(part.labels, minlength=5)[1:].tolist() for f, part in parts.items()}
    assert sizes == {0.01: [1] * 4, 0.1: [2] * 4, 0.5: [10] * 4, 1.0: [20] * 4}
    numbers = [set(part.numbers.tolist()) for part in parts.values()]
    assert all(a < b for a, b in itertools.pairwise(numbers))  # a larger part has all of a smaller one
    again = pictures(shards, regions="centre", fraction=0.5)
    assert np.array_equal(again.numbers, parts[0.5].numbers)


def boxes(*rows: list[float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_pasted_boxes_are_ground_truths_unless_they_shall_not(tmp_path: Path) -> None:
    patch = Patch(
        torch.zeros((3, 20, 30), dtype=torch.uint8), 10, 40, 1.0, torch.tensor([45.0, 12.0, 65.0, 28.0]), 3, 0
    )
    own, labels = boxes([40, 10, 60, 30], [0, 0, 10, 10], [30, 10, 50, 30]), np.array([1, 2, 1])
    box = [[45, 12, 65, 28]]
    for fields, stay, pasted, left_out in (
        ({}, [0, 1, 2], True, None),
        ({"boxes": "background"}, [0, 1, 2], False, None),
        ({"boxes": "ignored"}, [0, 1, 2], False, box),
        ({"drop_covered": 0.8}, [1, 2], True, None),
        ({"drop_covered": 0.4, "boxes": "ignored"}, [1], False, box),
    ):
        found, kinds, ignored = add_patches(own, labels, [patch], config(tmp_path, paste=fields))
        assert (None if ignored is None else ignored.tolist()) == left_out
        assert found.tolist() == own[stay].tolist() + ([[45, 12, 65, 28]] if pasted else [])
        assert kinds.tolist() == labels[stay].tolist() + ([3] if pasted else [])
        assert (found.dtype, kinds.dtype) == (np.float32, np.int64)
    found, kinds, _ = add_patches(boxes(), np.zeros(0, np.int64), [patch], config(tmp_path))
    assert (found.shape, kinds.tolist()) == ((1, 4), [3])
    assert add_patches(own, labels, [], config(tmp_path)) == (own, labels, None)


def test_a_pasted_class_is_not_absent_and_may_lack_boxes() -> None:
    def patch(label: int) -> Patch:
        return Patch(torch.zeros(3, 4, 4, dtype=torch.uint8), 0, 0, 1.0, torch.zeros(4), label, 0)

    known = Verified(torch.tensor([4, 5]), torch.tensor([2]))
    labels = np.array([1, 2])
    absent, partial = with_patches(known, labels, [patch(5), patch(1), patch(9), patch(9)])
    assert absent.tolist() == [4]
    assert partial.tolist() == [2, 9]  # of 9 nobody has said whether there are others
    assert [part.tolist() for part in with_patches(known, labels, [])] == [[4, 5], [2]]


def test_batches_say_what_was_looked_for(split: Split) -> None:
    loader = TrainingLoader(split, DataConfig(short_sides=(64,), workers=1), 4, 0, 0, 2)
    names = [split.files.path(i) for i in range(len(split.table))]
    for batch in loader:
        for target, name in zip(batch.targets, batch.names, strict=True):
            known = split.table.verified(names.index(Path(name)))
            assert known is not None
            assert target.verified is not None
            assert [p.tolist() for p in target.to(torch.device("cpu")).verified] == [p.tolist() for p in known]  # type: ignore[union-attr]


def test_the_last_part_of_a_training_goes_without_pasting(shards: Shards) -> None:
    for until, pasted in ((1.0, [True] * 4), (0.5, [True, True, False, False]), (0.0, [False] * 4)):
        settings = config(shards.folder, paste={"until": until})
        loader = CompanionLoader(pictures(shards), settings, 0, 10)
        found = [assemble(list(loader.load(position, IMAGE))) for position in (0, 4, 5, 9)]
        assert [bool(f.patches) for f in found] == pasted
        assert all(len(f.mosaics) == 2 for f in found)


@pytest.fixture
def split(drawn_lvis: Path, tmp_path: Path) -> Split:
    return open_split(DataConfig(root=drawn_lvis), "train", tmp_path / "cache")


@pytest.fixture
def of_split(split: Split, tmp_path: Path) -> PictureSet:
    some = Categories(list(split.table.categories)[:4])
    shards = painted_shards(tmp_path / "of_split", 30, categories=some)
    return open_pictures(config(shards.folder), split.table.categories, shards)


def batches(
    split: Split, found: PictureSet, workers: int, start: int = 0, stop: int = 10, **fields: Any
) -> list[Batch]:
    data = DataConfig(
        root=Path("."), short_sides=(64, 96), long_side=120, sampler=RepeatFactor(threshold=0.5), workers=workers
    )
    settings = config(found.shards.folder, **{"cutout": 0.5, "paste": {}, **fields})
    return list(TrainingLoader(split, data, 3, 7, start, stop, pictures=found, companions=settings))


def same(a: Batch, b: Batch) -> bool:
    return (
        a.names == b.names
        and all(torch.equal(x.pixels, y.pixels) for x, y in zip(a.images, b.images, strict=True))
        and all(
            torch.equal(x.boxes, y.boxes) and torch.equal(x.labels, y.labels)
            for x, y in zip(a.targets, b.targets, strict=True)
        )
        and len(a.companions) == len(b.companions) == len(a.images)
        and all(equal(x, y) for x, y in zip(a.companions, b.companions, strict=True))
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_same_batches_for_any_number_of_workers(split: Split, of_split: PictureSet, workers: int) -> None:
    inline, spread = (batches(split, of_split, n) for n in (0, workers))
    assert len(inline) == len(spread) == 10
    assert all(same(a, b) for a, b in zip(inline, spread, strict=True))
    tensors = [t for batch in spread for c in batch.companions for t in (*c.mosaics, *c.patches)]
    assert all(t.pixels.stride(0) == 1 for t in tensors)


@pytest.mark.parametrize("workers", [0, 2])
def test_same_batches_from_any_step(split: Split, of_split: PictureSet, workers: int) -> None:
    whole = batches(split, of_split, 0)
    part = batches(split, of_split, workers, 6, 9)
    assert all(same(a, b) for a, b in zip(whole[6:9], part, strict=True))


def test_each_image_has_its_own_pictures_and_the_boxes_of_its_patches(split: Split, of_split: PictureSet) -> None:
    plain = batches(split, of_split, 0, t=0)
    for batch, without in zip(batches(split, of_split, 0), plain, strict=True):
        for image, target, alone, found in zip(
            batch.images, batch.targets, without.targets, batch.companions, strict=True
        ):
            count = len(alone.labels)
            assert torch.equal(target.boxes[:count], alone.boxes)
            assert target.labels[count:].tolist() == [p.label for p in found.patches]
            assert torch.equal(target.boxes[count:], torch.stack([p.box for p in found.patches]))
            height, width = image.size
            for patch in found.patches:
                assert patch.top + patch.pixels.shape[1] <= height
                assert patch.left + patch.pixels.shape[2] <= width
    assert all(not c.patches and len(c.mosaics) == 2 for batch in plain for c in batch.companions)
    firsts = [c.mosaics[0].pixels for batch in plain for c in batch.companions]
    assert all(not torch.equal(a, b) for i, a in enumerate(firsts) for b in firsts[:i])


def test_without_pictures_nothing_comes(split: Split, of_split: PictureSet) -> None:
    data = DataConfig(root=Path("."), short_sides=(64,), long_side=120, workers=0)
    batch = next(iter(TrainingLoader(split, data, 2, 0, 0, 1)))
    assert batch.companions == []


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_is_named(split: Split, of_split: PictureSet, workers: int) -> None:
    tar = of_split.shards.folder / of_split.shards.manifest.shards[0].name
    data = bytearray(tar.read_bytes())
    start = data.index(b"\xff\xda", 512)  # where the pixels of the first picture begin
    data[start : start + 60] = bytes(60)
    tar.write_bytes(data)
    with pytest.raises(DataError) as caught:
        batches(split, of_split, workers)
    assert f"{tar}, {of_split.shards.key(0)}: the picture is damaged" in caught.value.message
    assert caught.value.hint == f"See what is left: clis shards verify {of_split.shards.folder}"


def test_what_workers_are_sent_is_small(shards: Shards) -> None:
    """Where workers are not forked, all of this is sent to each."""
    found = pictures(shards)
    again = pickle.loads(pickle.dumps(found))
    assert np.array_equal(again.regions.boxes, found.regions.boxes)
    assert len(pickle.dumps(found.regions)) < 4000
    loaders = [CompanionLoader(of, config(shards.folder), 0, 100) for of in (found, again)]
    assert equal(*(assemble(list(loader.load(2, IMAGE))) for loader in loaders))


def test_regions_given_by_hand_are_used(shards: Shards, tmp_path: Path) -> None:
    folder = write_regions(shards, [[0.25, 0.25, 0.5, 0.75]] * len(shards), tmp_path / "mine")
    settings = config(shards.folder, regions=str(folder), scale=(1.0, 1.0), flip=0.0, s=4, t=0)
    loader = CompanionLoader(pictures(shards, regions=str(folder)), settings, 0, 100)
    (mosaic,) = assemble(list(loader.load(0, IMAGE))).mosaics
    sides = (mosaic.regions[:, 2:] - mosaic.regions[:, :2]).tolist()
    assert all(max(w / 0.25, h / 0.5) == pytest.approx(64) for w, h in sides)


def test_pictures_without_a_sure_region_are_left_out(shards: Shards, tmp_path: Path) -> None:
    boxes_of_all = [[0.1, 0.1, 0.9, 0.9]] * len(shards)
    folder = write_regions(shards, boxes_of_all, tmp_path / "regions")
    scores, fallback, first = np.linspace(0, 1, len(shards)), np.zeros(len(shards), bool), 0
    fallback[-1] = True  # it has no region, whatever its score
    for file in sorted(folder.glob("*.npy")):
        part = np.load(file)
        part["score"], part["fallback"] = (x[first : first + len(part)] for x in (scores, fallback))
        first += len(part)
        np.save(file, part)
    every = pictures(shards, regions=str(folder))
    sure = pictures(shards, regions=str(folder), min_score=0.6)
    assert sure.numbers.tolist() == [n for n in every.numbers.tolist() if scores[n] >= 0.6 and not fallback[n]]
    assert 0 < len(sure.numbers) < len(every.numbers)
    assert sure.labels.tolist() == every.labels[np.isin(every.numbers, sure.numbers)].tolist()
    unsure = write_regions(shards, boxes_of_all, tmp_path / "unsure")
    for which, error, words in (("full-image", ConfigError, "no score"), (str(unsure), DataError, "None of the")):
        with pytest.raises(error, match=words) as caught:
            pictures(shards, regions=which, min_score=0.1)
        assert caught.value.hint


def test_pasted_instances_have_no_mask_and_dropped_boxes_take_theirs_along(split: Split, of_split: PictureSet) -> None:
    """The drawn masks fill their boxes, so that each box that has one is its window."""
    settings = config(of_split.shards.folder, paste={"drop_covered": 0.3, "side": [0.4, 0.5]})
    data = DataConfig(root=Path("."), short_sides=(64, 96), long_side=120, workers=0)
    loader = TrainingLoader(
        split, data, 3, 7, 0, 10, pictures=of_split, companions=settings, segmentations=Segmentations(split.table)
    )
    whole = TrainingLoader(split, data, 3, 7, 0, 10)
    dropped = 0
    for batch, plain in zip(loader, whole, strict=True):
        for target, before, companions in zip(batch.targets, plain.targets, batch.companions, strict=True):
            own = len(target.boxes) - len(companions.patches)
            dropped += len(before.boxes) - own
            assert target.masks is not None
            assert [shape == (0, 0) for shape in target.masks.shapes] == [False] * own + [True] * len(
                companions.patches
            )
            torch.testing.assert_close(target.masks.windows[:own], target.boxes[:own], atol=1e-4, rtol=0)
    assert dropped > 3
