"""A number in, the pixels of that picture of the shards out, no larger than they are needed."""

from __future__ import annotations

from torch import Tensor

from clis_core.data.decode import decode
from clis_core.data.shards.reader import Shards
from clis_core.errors import DataError


def decode_picture(shards: Shards, number: int, at_least: int | None = None) -> Tensor:
    """Decode a picture, the way of `decode`.

    Args:
        shards: where it is.
        number: of the picture.
        at_least: decode it at 1/2, 1/4 or 1/8 as long as its short side keeps this many pixels.

    Returns:
        uint8 ``[3, h, w]``, RGB, channels last in memory.

    Raises:
        DataError: it is damaged; names the shard and the picture's key.
    """
    data = shards.data(number)
    try:
        return decode(data, "the picture", at_least=at_least)
    except DataError as error:  # its name costs another read, which only an error is worth
        raise DataError(
            f"{shards.folder / shards.shard_of(number)[0]}, {shards.key(number)}: {error.message}",
            hint=f"See what is left: clis shards verify {shards.folder}",
        ) from None
