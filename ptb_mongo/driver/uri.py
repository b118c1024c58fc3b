"""Connection strings: checked as far as possible without a server, and shown without their secrets."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from pymongo import uri_parser
from pymongo.errors import ConfigurationError as InvalidConfiguration
from pymongo.errors import InvalidURI

from ptb_mongo.errors import ConfigurationError

__all__ = ["DEFAULT_DATABASE", "checked_name", "clear_errors", "database_in", "options_in", "without_password"]

DEFAULT_DATABASE: Final = "telegram_bot"
_URI: Final = re.compile(r"mongodb(?:\+srv)?://[^/?]+(?:/(?P<database>[^?]*))?(?:\?.*)?\Z")
# Up to the last "@": a password that should have been escaped may contain anything.
_USER_INFO: Final = re.compile(r"\A([a-z0-9+.-]*://)?(.*)@", re.IGNORECASE | re.DOTALL)
_SECRET_OPTION: Final = re.compile(r"([?&;][a-z]*(?:password|properties)=)[^&;]*", re.IGNORECASE)
_TO_BE_ESCAPED: Final = re.compile(r"[/?#\[\]@]|:.*:", re.DOTALL)
_NOT_ESCAPED: Final = (
    "the user name and the password must be escaped, each with urllib.parse.quote_plus, where they hold more than "
    "letters and digits"
)
_NOT_IN_A_NAME: Final = frozenset(' /\\."$*<>:|?\0')
_LONGEST_NAME: Final = 63


def without_password(uri: str) -> str:
    """The connection string in a form that may be shown."""
    return _SECRET_OPTION.sub(r"\1***", _USER_INFO.sub(r"\1***@", uri))


def checked_name(name: object) -> str:
    """A database's name.

    Raises:
        ConfigurationError: If MongoDB does not accept the name.
    """
    if not isinstance(name, str) or not name or _NOT_IN_A_NAME.intersection(name):
        raise ConfigurationError(
            f"MongoDB does not accept {name!r} as the name of a database; letters, digits, '-' and '_' always work"
        )
    if len(name.encode()) > _LONGEST_NAME:
        raise ConfigurationError(f"the name of the database has more than {_LONGEST_NAME} bytes: {name!r}")
    return name


def database_in(uri: str) -> str | None:
    """The database in a URI, which is checked as far as possible without a DNS lookup.

    Raises:
        ConfigurationError: If it cannot be used.
    """
    match = _URI.match(uri)
    if match is None:
        raise ConfigurationError(
            f"not a MongoDB connection string: {without_password(uri)!r}; "
            'it looks like "mongodb://localhost:27017" or "mongodb+srv://user:password@cluster.mongodb.net"'
        )
    options_in(uri)
    if "@" in (match["database"] or ""):
        raise ConfigurationError(f"the connection string {without_password(uri)!r} cannot be used: {_NOT_ESCAPED}")
    return match["database"] or None


def options_in(uri: str) -> Mapping[str, Any]:
    """The options in a URI, by the names that drivers use; with `mongodb+srv`, DNS may add some.

    Raises:
        ConfigurationError: If it cannot be used.
    """
    plain = re.sub(r"\Amongodb\+srv://([^/?]*@)?[^/?]*", r"mongodb://\1localhost", uri)
    with clear_errors(uri):
        found: Mapping[str, Any] = uri_parser.parse_uri(plain)["options"]
    return found


@contextmanager
def clear_errors(uri: str) -> Iterator[None]:
    """Turns PyMongo's complaints about a connection string into one clear error; it only warns of unknown options."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            yield
    except (InvalidURI, InvalidConfiguration, UserWarning, ValueError, TypeError, OSError) as error:
        shown = without_password(uri)
        raise ConfigurationError(f"the connection string {shown!r} cannot be used: {_harmless(error, uri)}") from None


def _harmless(error: BaseException, uri: str) -> str:
    """An error's text without the part of the URI before the `@`."""
    text = str(error)
    if (found := _USER_INFO.match(uri)) and (secret := found[2]):
        if _TO_BE_ESCAPED.search(secret):
            return _NOT_ESCAPED
        for part in (secret, *secret.split(":")):
            text = text.replace(part, "***") if part else text
    return text
