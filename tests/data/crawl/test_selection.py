"""Which of the pictures that repeat each other becomes a sample."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from clis_core.data.crawl.backends.backend import Hit
from clis_core.data.crawl.filters import Filter, examine
from clis_core.data.crawl.folder import CrawlFolder
from clis_core.data.crawl.record import KEPT, Record
from clis_core.data.crawl.search import Found
from clis_core.data.crawl.selection import choose, is_chosen, kept_pictures
from clis_core.errors import DataError
from clis_core.report import SilentReporter
from tests.data.crawl.web import encode, jpeg, photo

Pictures = dict[int, list[bytes | str]]
Reasons = dict[tuple[int, int], str]


def fill(out: Path, pictures: Pictures, *, shuffle: int | None = None) -> CrawlFolder:
    """The folder of a crawl that fetched these pictures, or was refused them, by category and rank."""
    folder = CrawlFolder(out, {})
    todo = []
    for category, mine in pictures.items():
        folder.add_search(category, "urls", [Found(Hit(f"http://a.test/{category}/{n}"), "") for n in range(len(mine))])
        todo += list(zip(folder.tasks(category), mine, strict=True))
    if shuffle is not None:
        random.Random(shuffle).shuffle(todo)
    for task, data in todo:
        if isinstance(data, str):
            folder.add(Record.of(task, data))
        else:
            facts = examine(data, "x", Filter())
            folder.add(Record.of(task, KEPT, **{**facts._asdict(), "hash": f"{facts.hash:016x}"}), data)
    return folder


def reasons(folder: CrawlFolder, order: list[int], validation: list[Path] | None = None) -> Reasons:
    choose(folder, order, validation or [], check=lambda: None, reporter=SilentReporter())
    return {(c.record.category, c.record.rank): c.reason for c in kept_pictures(folder)}


def small(seed: int) -> bytes:
    """The same picture as `jpeg`, smaller and of low quality."""
    return encode(photo(seed).resize((120, 90)), quality=40)


def test_doubles_within_a_category(tmp_path: Path) -> None:
    with fill(tmp_path, {1: [jpeg(1), jpeg(2), jpeg(1), small(2), "HTTP 404"]}) as folder:
        assert reasons(folder, [1]) == {
            (1, 1): "",
            (1, 2): "",
            (1, 3): "duplicate, same bytes",
            (1, 4): "duplicate, near-duplicate",
            (1, 5): "HTTP 404",
        }
        first, _, third, *_ = kept_pictures(folder)
        assert first.picture is not None
        assert first.picture.read_bytes() == jpeg(1)
        assert (third.picture, third.detail) == (None, "category 1, rank 1")


def test_of_two_categories_the_one_that_found_it_earlier_keeps_it(tmp_path: Path) -> None:
    with fill(tmp_path, {1: [jpeg(1), jpeg(2), jpeg(3)], 2: [small(2), jpeg(1)]}) as folder:
        assert reasons(folder, [1, 2]) == {
            (1, 1): "",
            (1, 2): "another category has it, near-duplicate",
            (1, 3): "",
            (2, 1): "",
            (2, 2): "another category has it, same bytes",
        }


def test_at_the_same_rank_the_first_category_keeps_it(tmp_path: Path) -> None:
    with fill(tmp_path, {5: [jpeg(1)], 3: [jpeg(1)]}) as folder:
        assert reasons(folder, [5, 3]) == {(5, 1): "", (3, 1): "another category has it, same bytes"}
        assert [c.record.category for c in kept_pictures(folder)] == [5, 3]


def test_a_placeholder_is_left_out_everywhere(tmp_path: Path) -> None:
    pictures: Pictures = {n: [jpeg(9) if n < 3 else small(9), jpeg(n)] for n in (1, 2, 3)}
    with fill(tmp_path, pictures) as folder:
        found = reasons(folder, [1, 2, 3])
    assert {key: reason for key, reason in found.items() if key[1] == 1} == dict.fromkeys(
        [(1, 1), (2, 1), (3, 1)], "found for many categories"
    )
    assert all(not reason for (_, rank), reason in found.items() if rank == 2)


def test_validation_images_are_not_trained_on(tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    image = tmp_path / "val" / "000.png"
    photo(2).save(image)
    with fill(tmp_path, {1: [jpeg(1), jpeg(2), small(2)]}) as folder:
        found = reasons(folder, [1], [image])
        assert found == {(1, 1): "", (1, 2): "repeats a validation image", (1, 3): "repeats a validation image"}
        assert [c.detail for c in kept_pictures(folder)] == ["", "000.png", "000.png"]


def product(colour: tuple[int, int, int]) -> bytes:
    """One thing in the middle of white: such pictures have nearly the same difference hash."""
    image = Image.new("RGB", (160, 160), "white")
    ImageDraw.Draw(image).ellipse((40, 40, 120, 120), fill=colour)
    return encode(image)


def test_things_on_white_are_not_taken_for_each_other(tmp_path: Path) -> None:
    red, blue = product((180, 30, 30)), product((60, 90, 200))
    hashes = [examine(data, "x", Filter()).hash for data in (red, blue)]
    assert (hashes[0] ^ hashes[1]).bit_count() <= 4  # the hash alone would
    with fill(tmp_path, {1: [red, blue, product((180, 40, 30))]}) as folder:
        assert reasons(folder, [1]) == {(1, 1): "", (1, 2): "", (1, 3): "duplicate, near-duplicate"}


def test_the_order_of_arrival_does_not_matter(tmp_path: Path) -> None:
    pictures: Pictures = {
        1: [jpeg(1), jpeg(2), small(3), jpeg(4)],
        2: [jpeg(3), small(1), jpeg(5), "time-out"],
        3: [small(4), jpeg(2), jpeg(6), jpeg(2)],
    }
    found = []
    for shuffle in range(4):
        with fill(tmp_path / str(shuffle), pictures, shuffle=shuffle) as folder:
            found.append(reasons(folder, [1, 2, 3]))
    assert found == [found[0]] * 4
    assert len(set(found[0].values())) == 4


def test_the_choice_stays(tmp_path: Path) -> None:
    with fill(tmp_path, {1: [jpeg(1)], 2: [jpeg(2)]}) as folder:
        assert not is_chosen(folder)
        assert reasons(folder, [1]) == {(1, 1): ""}
        assert is_chosen(folder)


def test_a_stop_leaves_no_choice(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with fill(tmp_path, {1: [jpeg(1)]}) as folder:
        with pytest.raises(KeyboardInterrupt):
            choose(folder, [1], [], check=stop, reporter=SilentReporter())
        assert not is_chosen(folder)


@pytest.mark.parametrize("text", ["{", '{"category": 1}', '{"category": 1, "rank": 9, "reason": "", "detail": ""}'])
def test_a_damaged_choice(tmp_path: Path, text: str) -> None:
    with fill(tmp_path, {1: [jpeg(1)]}) as folder:
        (folder.path / "chosen.jsonl").write_text(text + "\n")
        with pytest.raises(DataError, match=r"chosen\.jsonl is damaged"):
            list(kept_pictures(folder))
