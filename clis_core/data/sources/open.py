"""A path goes in; the source that lies there comes out, or an error that says which choices there are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clis_core.data.shards.manifest import MANIFEST
from clis_core.data.sources.class_tars import ClassTars
from clis_core.data.sources.folders import ClassFolders
from clis_core.data.sources.joined import JoinedSources
from clis_core.data.sources.label_from import LabelRule, parse_label_from
from clis_core.data.sources.listing import LISTS, Listing
from clis_core.data.sources.member import Source
from clis_core.data.sources.names import COMPRESSED_TARS, PICTURES, TAR, UNLABELLED, is_hidden, split_path, tar_stem
from clis_core.data.sources.tar_members import first_paths
from clis_core.data.sources.tar_stream import TarStream
from clis_core.data.sources.webdataset_shards import WebDatasetShards, ask_for_label, own_shards
from clis_core.errors import ConfigError, DataError

_WNID = re.compile(r"n\d{8}")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICES = (
    "Sources: a folder of class tars (n02084071.tar), a tar of class tars or of class folders, a folder for each "
    "class, a list (.csv, .tsv, .jsonl, .json), WebDataset shards ('shards/{00000..00012}.tar' or their folder)."
)


def open_sources(
    paths: Sequence[Path], *, label_from: str | None = None, class_list: Path | None = None, root: Path | None = None
) -> Source:
    """Open several sources as one; the arguments are those of `open_source` and hold for each.

    Raises:
        ConfigError, DataError: as `open_source`.
    """
    sources = [open_source(path, label_from=label_from, class_list=class_list, root=root) for path in paths]
    if not sources:
        raise DataError("No source of pictures is given.", hint=_CHOICES)
    return sources[0] if len(sources) == 1 else JoinedSources(sources)


def open_source(
    path: Path, *, label_from: str | None = None, class_list: Path | None = None, root: Path | None = None
) -> Source:
    """Open labelled pictures, telling what they lie in by looking.

    Args:
        path: a folder, a tar, a list, or a pattern of shards such as ``shards/{00000..00012}.tar``.
        label_from: where labels are, if looking cannot tell: "tar" (a tar's name), "folder" (the name of a file's
            folder), and for WebDataset shards "json:KEY", "key-prefix", "filename" or "cls" (see `LabelRule`).
        class_list: one class a line, class 0 first, for "cls".
        root: folder that relative paths of a list start from; None takes the list's own.

    Raises:
        ConfigError: an argument is none of these, or does not fit what the path is.
        DataError: nothing that is known lies there, or more than one thing fits.
    """
    asked = _Asked.of(label_from, class_list)
    if path.suffix.lower() in LISTS and path.is_file():
        if label_from is not None:
            raise ConfigError(f"{path} is a list: its labels are in it.", hint="Leave --label-from out.")
        return Listing(path, root)
    if root is not None:
        raise ConfigError(f"A root is of use for a list of files only; {path} is none.", hint="Leave --root out.")
    if path.is_dir():
        return _open_folder(path, asked)
    if path.is_file():
        return _open_tar(path, asked)
    if "{" in str(path):
        shards = _expand(path)
        missing = next((shard for shard in shards if not shard.is_file()), None)
        if missing is None:
            return _open_shards(shards, asked)
        path = missing
    raise DataError(f"{path} does not exist.", hint=f"Check the path. {_CHOICES}")


@dataclass(frozen=True)
class _Asked:
    """Where the user says that labels are."""

    tar: bool
    folder: bool
    rule: LabelRule | None

    @classmethod
    def of(cls, label_from: str | None, class_list: Path | None) -> _Asked:
        by_name = label_from in (None, "tar", "folder")
        if by_name and class_list is not None:
            raise ConfigError("A class list is for WebDataset shards with numbers.", hint="Add --label-from cls")
        rule = None if by_name else parse_label_from(label_from or "", class_list)
        return cls(label_from == "tar", label_from == "folder", rule)


def _open_folder(folder: Path, asked: _Asked) -> Source:
    entries = sorted(entry for entry in _listed(folder) if not is_hidden(entry.name))
    tars = [entry for entry in entries if tar_stem(entry.name) is not None and not entry.is_dir()]
    folders = [entry for entry in entries if entry.is_dir()]
    if asked.folder or (folders and not tars and not asked.tar and asked.rule is None):
        return ClassFolders(folder)
    if not tars:
        flat = any(entry.suffix.lower()[1:] in PICTURES for entry in entries)
        lists = [entry for entry in entries if entry.suffix.lower() in LISTS]
        what = "pictures that lie in no class folders" if flat else "neither tars nor class folders"
        hint = f"Give the list of them: {lists[0]}" if flat and lists else _CHOICES
        raise DataError(f"{folder} holds {what}.", hint=hint)
    if asked.tar:
        return ClassTars(tars)
    if (folder / MANIFEST).is_file():
        return own_shards(folder, asked.rule)
    if asked.rule is not None:
        return WebDatasetShards(tars, asked.rule)
    if folders:
        raise DataError(
            f"{folder} holds both tars ({tars[0].name}, ...) and folders ({folders[0].name}, ...).",
            hint="--label-from tar reads the tars, --label-from folder the folders; for both, put them apart.",
        )
    others = [tar for tar in tars if not _WNID.fullmatch(tar_stem(tar.name) or "")]
    if not others:
        return ClassTars(tars)
    raise _unsure(others)


def _open_tar(path: Path, asked: _Asked) -> Source:
    stem = tar_stem(path.name)
    if stem is None:
        raise DataError(f"{path} is neither a tar nor a list, by its name.", hint=_CHOICES)
    if asked.folder:
        return TarStream(path)
    if asked.rule is not None:
        return WebDatasetShards([path], asked.rule)
    if asked.tar or _WNID.fullmatch(stem):
        return ClassTars([path])
    if (path.parent / MANIFEST).is_file():
        return WebDatasetShards([path], LabelRule("own"), "shards of clis")
    paths = first_paths(path, 2)
    if not paths:
        raise DataError(f"{path} is an empty tar.", hint="Get it again.")
    if _is_tar_of_classes(paths):
        return TarStream(path)
    raise _unsure([path])


def _open_shards(shards: Sequence[Path], asked: _Asked) -> Source:
    if asked.tar:
        return ClassTars(shards)
    if asked.folder:
        return JoinedSources([TarStream(shard) for shard in shards])
    if asked.rule is not None:
        return WebDatasetShards(shards, asked.rule)
    if all((shard.parent / MANIFEST).is_file() for shard in shards):
        return WebDatasetShards(shards, LabelRule("own"), "shards of clis")
    raise ask_for_label(shards)


def _is_tar_of_classes(paths: Sequence[str]) -> bool:
    """Whether the first files of a tar are class tars, or pictures in folders that are no WebDataset samples."""
    folder, name = split_path(paths[0])
    if name.lower().endswith((TAR, *COMPRESSED_TARS)):
        return True
    return folder != UNLABELLED and not _is_sample(paths)


def _is_sample(paths: Sequence[str]) -> bool:
    """Whether the first files of a tar are those of one WebDataset sample: one key, several extensions."""
    stems = {path[: len(path) - len(name)] + name.partition(".")[0] for path in paths for _, name in [split_path(path)]}
    return len(paths) > 1 and len(stems) == 1


def _unsure(tars: Sequence[Path]) -> DataError:
    """The error for tars of which their names do not tell whether each is a class, a shard or a whole set."""
    paths = first_paths(tars[0], 2)
    if (tar_stem(tars[0].name) or "").isdigit() or _is_sample(paths):
        return ask_for_label(tars)
    start = paths[0] if paths else "nothing"
    if paths and _is_tar_of_classes(paths):
        hint = f"If it holds many classes, give the tar itself: {tars[0]}. If its name is the class: --label-from tar"
    else:
        hint = (
            "--label-from tar if a tar's name is the class of all in it; for WebDataset shards json:KEY, key-prefix, "
        )
        hint += "filename or cls"
    return DataError(f"{tars[0]} begins with {start!r}: its name does not tell what class that is.", hint=hint)


def _expand(path: Path) -> list[Path]:
    """The files that a pattern with ``{00000..00012}`` means; several such ranges count the last one first."""
    found = _RANGE.search(str(path))
    if found is None:
        return [path]
    first, last = found[1], found[2]
    if int(last) < int(first) or int(last) - int(first) > 1_000_000:
        raise DataError(f"{path}: {found[0]} is no range of shards.", hint="Write it as 'shards/{00000..00012}.tar'")
    before, after = str(path)[: found.start()], str(path)[found.end() :]
    numbers = (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
    return [shard for number in numbers for shard in _expand(Path(before + number + after))]


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise DataError(
            f"Folder {folder} cannot be read: {error.strerror or error}.", hint="Check the path and its permissions."
        ) from None
