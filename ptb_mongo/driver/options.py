"""Options of clients, ours and borrowed: which ones we override for our database, and which ones we refuse.

Options that are merely unusual are overridden: codec options, read preference and read concern. Those that would lose
data, or block everything, are refused with an error that says why.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

from pymongo.errors import NotPrimaryError, OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from ptb_mongo.driver import codes
from ptb_mongo.driver.decoding import CODEC_OPTIONS
from ptb_mongo.driver.streams import is_sharded
from ptb_mongo.errors import ConfigurationError

__all__ = [
    "CODEC_OPTIONS",
    "check_acknowledged",
    "check_connections",
    "check_versions",
    "database_options",
    "explained",
]

_version = functools.cache(metadata.version)
"""Cached, as looking it up takes longer than everything else when a persistence is created."""
_OLDEST: Final = {"pymongo": (4, 11), "motor": (3, 7)}
_CONNECTIONS: Final = 2  # the stream occupies one while it waits for events
_BAD_VALUE: Final = 2


def check_versions() -> None:
    """Checks the versions of the drivers.

    Raises:
        ConfigurationError: If one is too old: with PyMongo before 4.11, an `AsyncMongoClient` may block the event loop
            for good.
    """
    for name, oldest in _OLDEST.items():
        with contextlib.suppress(metadata.PackageNotFoundError):
            found = _version(name)
            if tuple(map(int, re.findall(r"\d+", found)[:2])) < oldest:
                named = f"{name}>={oldest[0]}.{oldest[1]}"
                raise ConfigurationError(
                    f"{name} {found} is too old, and may block the event loop for good; this package needs {named} "
                    f'(pip install -U "{named}")'
                )


def check_acknowledged(w: object) -> None:
    """Checks the `w` of a client's write concern.

    Raises:
        ConfigurationError: If writes are not acknowledged.
    """
    if w == 0:
        raise ConfigurationError(
            "with the write concern w=0, MongoDB does not say whether it has saved anything: data would be lost "
            'unnoticed. Leave it out (then it is w="majority"), or use w=1'
        )


def database_options(client: Any) -> dict[str, Any]:
    """The options for opening a client's database, whatever the client's own options are.

    A write concern that was set is kept; if it leaves `w` open, `w` gets our default.
    """
    return {
        "codec_options": CODEC_OPTIONS,
        "read_preference": ReadPreference.PRIMARY,  # never older than our own writes
        "read_concern": ReadConcern("local"),  # likewise
        "write_concern": WriteConcern(**{"w": "majority", **client.write_concern.document}),
    }


def check_connections(client: Any) -> None:
    """Checks that a client may open another connection besides that of the change stream.

    Raises:
        ConfigurationError: If not: the stream always waits for events, so nothing would ever be saved.
    """
    most = client.options.pool_options.max_pool_size
    if most and most < _CONNECTIONS:  # 0 means no limit
        raise ConfigurationError(
            f"maxPoolSize={most}: the change stream needs a connection of its own, so the bot needs at least "
            f'{_CONNECTIONS}; use maxPoolSize={_CONNECTIONS} or more, or refresh="read", which has no stream'
        )


def explained(error: BaseException | None, client: Any, hello: Mapping[str, Any]) -> ConfigurationError | None:
    """What to change, if it is an option that keeps the bot from writing.

    Args:
        error: The server's answer to a write.
        client: The client.
        hello: Its description of itself since.
    """
    primary = hello.get("primary")
    if isinstance(error, NotPrimaryError) and primary not in {None, hello.get("me")}:
        return ConfigurationError(
            f"{hello.get('me')} is a secondary, which takes no writes; the primary is {primary}. Leave out "
            "directConnection=true, and name the replica set instead (replicaSet=...)"
        )
    if not isinstance(error, OperationFailure):
        return None
    concern = client.write_concern.document
    alone = error.code == _BAD_VALUE and "setName" not in hello and not is_sharded(hello)
    if error.code in codes.UNSATISFIABLE or (alone and concern.get("w") not in {None, 1, "majority"}):
        text = (error.details or {}).get("errmsg", "")
        shown = ", ".join(f"{name}={value!r}" for name, value in sorted(concern.items()))
        return ConfigurationError(
            f"the write concern {shown} can never be met by this server ({text}): no save would be acknowledged; leave "
            'it out (then it is w="majority"), or use one that the replica set can meet'
        )
    return None
