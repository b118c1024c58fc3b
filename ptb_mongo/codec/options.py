"""How BSON is decoded here: exactly, with Python's own types where they say the same."""

from __future__ import annotations

import datetime as dtm
from typing import Any, Final

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion, TypeDecoder, TypeRegistry
from bson.int64 import Int64

__all__ = ["OPTIONS"]


class _PlainInt(TypeDecoder):
    """64-bit integers come back as `int`, as they went in."""

    bson_type = Int64

    def transform_bson(self, value: Any) -> int:
        return int(value)


OPTIONS: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    tz_aware=True,
    tzinfo=dtm.timezone.utc,  # else zones come back as bson.tz_util's
    uuid_representation=UuidRepresentation.STANDARD,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,  # others may write dates outside 1-9999
    type_registry=TypeRegistry([_PlainInt()]),
)
