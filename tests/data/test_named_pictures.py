"""What a user types, and which pictures it means."""

from pathlib import Path

import pytest

from clis_core.data.named_pictures import Failure, find_pictures, split_list


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("photos/b.jpg", "photos/a.PNG", "photos/notes.txt", "photos/deep/c.webp", "photos/.hidden/d.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("photos/._a.jpg").touch()
    Path("[1].jpg").touch()
    return tmp_path


def names(*words: str, leave_out: Path | None = None) -> list[str]:
    return [picture.name for picture in find_pictures(words, leave_out)[0]]


@pytest.mark.usefixtures("photos")
def test_files_folders_and_patterns() -> None:
    assert names("photos/notes.txt") == ["photos/notes.txt"]  # what is named is meant
    assert names("photos") == ["photos/a.PNG", "photos/b.jpg", "photos/deep/c.webp"]
    assert names("photos/*.jpg") == ["photos/b.jpg"]
    assert names("photos/**/*.webp") == ["photos/deep/c.webp"]
    assert names("[1].jpg") == ["[1].jpg"]  # a file of that very name, not a pattern


@pytest.mark.usefixtures("photos")
def test_each_picture_once_in_the_order_of_the_words(photos: Path) -> None:
    Path("link.jpg").symlink_to(photos / "photos" / "b.jpg")
    found = names("photos/b.jpg", "photos", str(photos / "photos" / "b.jpg"), "link.jpg", "photos/deep")
    assert found == ["photos/b.jpg", "photos/a.PNG", "photos/deep/c.webp"]


@pytest.mark.usefixtures("photos")
def test_results_of_an_earlier_call_are_no_pictures_of_the_next() -> None:
    assert names("photos", leave_out=Path("photos/deep")) == ["photos/a.PNG", "photos/b.jpg"]
    assert names("photos/deep", leave_out=Path("photos/deep")) == ["photos/deep/c.webp"]


@pytest.mark.usefixtures("photos")
def test_what_leads_nowhere_is_told() -> None:
    Path("empty").mkdir()
    pictures, failures = find_pictures(
        ["empty", "photos/*.gif", "ftp://a.test/b.jpg", "file:///etc/passwd", "gone.jpg"]
    )
    assert [p.name for p in pictures] == ["gone.jpg"]  # told when it is read, as one of many
    assert [f.name for f in failures] == ["empty", "photos/*.gif", "ftp://a.test/b.jpg", "file:///etc/passwd"]
    assert failures[1] == Failure("photos/*.gif", "no file matches this pattern")
    assert "no pictures in this folder" in failures[0].reason
    assert all("http:// and https:// can" in f.reason for f in failures[2:])


def test_addresses_are_kept_as_they_are() -> None:
    (picture,), failures = find_pictures(["HTTPS://a.test/x.jpg?size=1", "HTTPS://a.test/x.jpg?size=1"])
    assert picture == ("HTTPS://a.test/x.jpg?size=1", None)
    assert failures == []


def test_lists() -> None:
    assert split_list("a b.jpg\n\n  \nc.jpg\r\n") == ["a b.jpg", "c.jpg"]
    assert split_list("a\nb.jpg\0c.jpg\0") == ["a\nb.jpg", "c.jpg"]
