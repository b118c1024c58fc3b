"""A person who must leave no trace, and a search for traces in the raw bytes."""

from __future__ import annotations

import struct
from typing import Any

import bson
from bson.raw_bson import RawBSONDocument

ADA = 4242424242
"""A user whose id is found in bytes only where it is meant."""
SECRET = "Ada Lovelace's secret"
GROUP = -1009999999


def mentions(database: Any, number: int = ADA, secret: str = SECRET) -> list[str]:
    """Where a number, in any of its forms, or a text stands in a whole database."""
    forms = [str(number).encode(), struct.pack("<q", number), struct.pack("<d", number), secret.encode()]
    options: Any = bson.codec_options.CodecOptions(document_class=RawBSONDocument)
    found = []
    for name in database.list_collection_names():
        for document in database.get_collection(name, codec_options=options).find():
            found += [f"{name}: {document.raw!r:.200}" for form in forms if form in document.raw]
    return found
