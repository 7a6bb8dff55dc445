"""WebDataset shards go in; their pictures come out, labelled by what the user says of where a sample has its label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from clis_core.data.picture import MAX_BYTES
from clis_core.data.shards.manifest import MANIFEST, read_manifest
from clis_core.data.shards.origin import read_origin, tars_elsewhere
from clis_core.data.sources import problems
from clis_core.data.sources.label_from import RULES, LabelRule, OutsideClassListError
from clis_core.data.sources.member import START, Member, Position
from clis_core.data.sources.names import UNLABELLED, split_path
from clis_core.data.sources.picture_file import size_of
from clis_core.data.sources.samples import Sample, Shard, describe_first, opened_shard
from clis_core.data.sources.tar_walk import EntryKind
from clis_core.errors import DataError


class WebDatasetShards:
    """Shards of samples; the parts are the shards, and a sample counts as one member.

    Of a sample the first picture is taken (jpg, jpeg, png, webp, gif, bmp, tif, tiff).

    Args:
        shards: the tars, not compressed, in their order.
        rule: where a sample has its label.
        kind: what to call them.
    """

    def __init__(self, shards: Sequence[Path], rule: LabelRule, kind: str = "WebDataset shards") -> None:
        self.kind = kind
        self._shards = list(shards)
        self._rule = rule

    def labels(self) -> list[str] | None:
        """See `Source`; known where a class list says them."""
        return sorted(set(self._rule.classes)) or None

    def size(self, wanted: Callable[[str], bool]) -> int:
        """See `Source`; that of all shards, as a shard may hold any class."""
        return max(1, sum(map(size_of, self._shards)))

    def members(self, wanted: Callable[[str], bool], start: Position = START) -> Iterator[Member]:
        """See `Source`."""
        for part in range(start.part, len(self._shards)):
            skipped = start.member if part == start.part else 0
            with opened_shard(self._shards[part]) as shard:
                for number, sample in enumerate(shard.samples()):
                    if number < skipped:
                        continue
                    label, name = self._label_and_name(self._shards[part], shard, sample)
                    if wanted(label):
                        data, problem = _read(shard, sample, label)
                        yield Member(label, name, data, problem, Position(part, number + 1))

    def _label_and_name(self, path: Path, shard: Shard, sample: Sample) -> tuple[str, str]:
        name = sample.name if sample.picture is None else split_path(sample.picture.path)[1]
        if self._rule.reads == "json":
            record = shard.json(sample)
            return self._rule.of_json(record), self._rule.name_of(record) or name
        if self._rule.reads is None:
            return self._rule.of_key(sample.name), name
        try:
            return self._rule.of_cls(shard.field(sample, "cls") or b""), name
        except OutsideClassListError as error:
            raise DataError(
                f"{path}: sample {sample.name!r} has {error}.",
                hint="Give the list of the classes that these shards were numbered by: --class-list FILE",
            ) from None


def own_shards(folder: Path, rule: LabelRule | None = None) -> WebDatasetShards:
    """The shards of a folder that clis wrote.

    Args:
        folder: holds manifest.json.
        rule: where samples have their label; None takes the WordNet id, or else the class name.

    Raises:
        DataError: the manifest is damaged, or a shard that it lists is missing, or stayed on a server.
    """
    shards = [folder / shard.name for shard in read_manifest(folder).shards]
    missing = [path.name for path in shards if not path.is_file()]
    if missing and (origin := read_origin(folder)) is not None:
        raise tars_elsewhere(folder, origin)
    if missing:
        raise DataError(
            f"{folder} lacks {len(missing)} of the {len(shards)} shards that its {MANIFEST} lists: {missing[0]}.",
            hint="Copy the whole folder again.",
        )
    return WebDatasetShards(shards, rule or LabelRule("own"), "shards of clis")


def ask_for_label(shards: Sequence[Path]) -> DataError:
    """An error that says what the first sample holds, and how to say where its label is.

    Raises:
        DataError: the first shard cannot be read.
    """
    lines = describe_first(shards[0])
    if not lines:
        return DataError(
            f"{shards[0]} does not begin with a WebDataset sample: files KEY.jpg and KEY.json or KEY.cls.",
            hint="For class tars, where a tar's name is the label of all in it: --label-from tar",
        )
    return DataError(
        f"{shards[0]}: say where a sample has its label. The first one:\n  " + "\n  ".join(lines),
        hint=f"--label-from {' | '.join(RULES)}; cls needs --class-list FILE, one class a line, class 0 first; "
        "--label-from tar if a tar's name is the label of all in it",
    )


def _read(shard: Shard, sample: Sample, label: str) -> tuple[bytes | None, str | None]:
    """Bytes or problem of a sample's picture."""
    entry = sample.picture
    if entry is None:
        return None, problems.NO_PICTURE
    if label == UNLABELLED:
        return None, problems.NO_LABEL
    if entry.kind is not EntryKind.FILE:
        return None, problems.NOT_REGULAR
    if entry.size > MAX_BYTES:
        return None, problems.TOO_LARGE
    return shard.stream.read_at(entry.offset, entry.size), None
