"""How answers are decoded: exactly, or so that nothing in them can raise an error."""

from __future__ import annotations

from typing import Any, Final

from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument

__all__ = ["ANYTHING", "CODEC_OPTIONS", "OF_WRITES", "RAW"]

CODEC_OPTIONS: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    uuid_representation=UuidRepresentation.STANDARD, tz_aware=True
)
OF_WRITES: Final = CODEC_OPTIONS.with_options(
    unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
"""An error's text may quote bytes of a broken document that are not valid text."""
ANYTHING: Final = OF_WRITES.with_options(uuid_representation=UuidRepresentation.UNSPECIFIED)
"""For values that anybody may have written, where their exact form does not matter: none of them raises an error."""
RAW: Final[CodecOptions[RawBSONDocument]] = ANYTHING.with_options(document_class=RawBSONDocument)
"""Documents as the bytes that the server sent: see `RawBSONDocument.raw`."""
