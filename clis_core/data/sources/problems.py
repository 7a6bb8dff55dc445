"""Why a member has no bytes, in words that can be counted: the same fault gives the same words."""

from __future__ import annotations

from clis_core.data.picture import MAX_BYTES

NOT_REGULAR = "no regular file"
TOO_LARGE = f"larger than {MAX_BYTES >> 20} MiB"
MISSING = "no such file"
UNREADABLE = "a file that cannot be read"
DAMAGED_TAR = "damaged tar"
PACKED_TAR = "a compressed tar inside a tar"
SEVERAL = "several categories"
NO_LABEL = "no label"
NO_PICTURE = "no picture in the sample"
