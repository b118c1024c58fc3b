"""Python values to BSON documents and back, exactly; no I/O.

What BSON holds without loss is stored as just that: `None`, `bool`, `int` of 64 bits, `float`, `str`, `bytes`,
`list`, `dict`, `uuid.UUID`, `datetime` in UTC with milliseconds, and BSON's own types. Everything else is a
document with the tag key `_py`, and stays as queryable as it can be:

| Python | `_py` | beside it |
|---|---|---|
| `tuple`, `set`, `frozenset`, `deque` | the type's name | `v`: array (sets sorted), `maxlen` |
| `dict` with keys that no field name holds | `dict` | `v`: array of pairs |
| `OrderedDict`, `Counter`, `defaultdict` | the type's name | `v`: document, `factory`: a class, or `function` |
| an iterator over a sequence: what is left | `iterator` | `v`, `kind`: reversed, enumerate, zip |
| `int` beyond 64 bits | `int` | `v`: digits |
| `str` with lone surrogates | `str` | `v`: binary |
| `Decimal` | `decimal` | `v`: Decimal128 where that is exact, else text |
| `datetime` with microseconds, a zone, or none | `datetime` | `v`: date, `iso`, `tz`, `fold` |
| `DatetimeMS` that a `datetime` could hold | `milliseconds` | `v` |
| `date`, `time`, `timedelta`, `timezone`, `ZoneInfo` | the type's name in small letters | `v`, ... |
| `Fraction`, `range`, `bytearray`, `re.Pattern` | `fraction`, `range`, `bytearray`, `regex` | `v`, `flags` |
| a zone of pytz, dateutil, pendulum, PyMongo | `pytz`, `dateutil.gettz`, ... | `v`: its name or offset |
| a value of pendulum | `pendulum.DateTime`, `pendulum.Date`, ... | as Python's own |
| `complex`, `slice`, `array.array` | the type's name | `v`; `start`, `stop`, `step`; `type` |
| a path | `path` | `v`, `pure`: posix or windows |
| an IP address, network, interface | the type's name | `v` |
| a value, an array of numpy | `numpy`, `ndarray` | `dtype`, `v`, `shape`, `order` |
| a member of an enum | `enum` | `cls`, `name`, `v` |
| a class | `class` | `v`: its name |
| a named tuple | `namedtuple` | `cls`, `v`: document of its fields |
| an object, also of pydantic, attrs, msgspec | `object` | `cls`, `state`: its attributes, or its `__getstate__()` |
| an object of a subclass of one of those above | its base's name | `cls`, what its base has, `state`: its attributes |
| a Telegram object | `telegram` | `cls`, `base`, `ptb`: PTB's version, `pickle`, `view`: its `to_dict()` |
| the bot; another bot | `bot` | `foreign` |
| anything else that can be pickled | `pickle` | `cls`, `v`, `ptb` |
| what lies deeper than MongoDB takes | `bson` | `v`: BSON in binary |

Lost is only identity: an object that stands in two places comes back as two equal ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any

import telegram

from ptb_mongo.codec.bounds import check_copy
from ptb_mongo.codec.decoder import Decoder
from ptb_mongo.codec.documents import BURIED, BURIED_FIELD, MAX_SIZE, Parts, dump, id_of, load, load_each, part
from ptb_mongo.codec.encoder import Encoder, sort_elements
from ptb_mongo.codec.keys import TAG, escape, unescape
from ptb_mongo.codec.native import Nature, fingerprint
from ptb_mongo.codec.options import OPTIONS
from ptb_mongo.codec.pickling import restore
from ptb_mongo.codec.plain import is_plain, load_plain
from ptb_mongo.codec.trust import Trust
from ptb_mongo.errors import DecodeError, EncodeError

if TYPE_CHECKING:
    from ptb_mongo.codec.troubles import Trouble

__all__ = [
    "BURIED",
    "BURIED_FIELD",
    "MAX_SIZE",
    "OPTIONS",
    "TAG",
    "Codec",
    "Nature",
    "Parts",
    "dump",
    "escape",
    "fingerprint",
    "id_of",
    "is_plain",
    "load",
    "load_each",
    "load_plain",
    "part",
    "restore",
    "sort_elements",
    "unescape",
]


class Codec:
    """Encodes and decodes values.

    Args:
        trusted: Classes, or names of modules, whose objects may be stored and restored.
        bot: Returns the running bot, for which a placeholder is stored.
        aliases: Classes by the names that they had before: `{"old_module.Basket": Basket}`.

    Raises:
        ConfigurationError: If an entry of `trusted` is neither a class nor the name of a module, or an alias cannot be
            used.

    Example:
        >>> codec = Codec()
        >>> codec.encode({"point": (1, 2)})
        {'point': {'_py': 'tuple', 'v': [1, 2]}}
        >>> codec.decode({'point': {'_py': 'tuple', 'v': [1, 2]}})
        {'point': (1, 2)}
    """

    def __init__(
        self,
        trusted: Iterable[type | str | FunctionType] = (),
        bot: Callable[[], telegram.Bot | None] = lambda: None,
        aliases: Mapping[str, type] = MappingProxyType({}),
    ) -> None:
        self._trust = trust = Trust(trusted, aliases)
        self._bot = bot
        self.import_trusted = trust.import_modules
        """Imports the modules in `trusted`, or raises a `ConfigurationError`."""
        self._encoder = Encoder(trust, bot)
        self.nature = self._encoder.nature
        """The nature of a value that has a fingerprint; see `native`."""
        self._decoder = Decoder(trust, bot)

    def encode(self, value: object) -> Any:
        """The plain document of a value.

        Raises:
            EncodeError: If it holds something that cannot be stored, with the path to it.
        """
        return self._encoder.document(value)

    def decode(self, plain: object) -> Any:
        """The value of a plain document.

        Raises:
            DecodeError: If it holds something that cannot be restored, with the path to it.
        """
        return self._decoder.document(plain)

    def troubles(
        self, value: object, refused: Callable[[Any], tuple[str, str] | None] = lambda _: None
    ) -> Iterator[Trouble | None]:
        """What cannot be stored of a value, after `encode` has refused it; see `survey`."""
        from ptb_mongo.codec.survey import survey  # noqa: PLC0415  (needed for errors alone: a start is quicker without)

        return survey(value, self._trust, self._bot, refused)

    def explained(self, value: object, error: EncodeError, scope: str | None = None) -> EncodeError:
        """An error of `encode` that names all that cannot be stored, and what to do.

        Args:
            value: The value, or the part of it that the user knows.
            error: What `encode` has raised.
            scope: The key of `exclude` that the value is under; `None` if nothing can be excluded.
        """
        from ptb_mongo.codec.troubles import told  # noqa: PLC0415  (as in `troubles`)

        try:
            reason = told(self.troubles(value), scope, error.reason)
        except Exception:  # noqa: BLE001  (classes' own methods; then the first reason must do)
            reason = None
        return error if reason is None else EncodeError(reason, path=error.path)

    def unreadable(self, plain: object) -> Iterator[Trouble | None]:
        """The classes because of which a plain document cannot be decoded; see `plain_survey`."""
        from ptb_mongo.codec.plain_survey import plain_survey  # noqa: PLC0415  (as in `troubles`)

        return plain_survey(plain, self._trust)

    def explained_unreadable(self, plain: object, error: DecodeError, scope: str | None = None) -> DecodeError:
        """An error of `decode` that names all classes that are in the way, and what to do.

        Args:
            plain: The document, or the part of it that the user knows.
            error: What `decode` has raised.
            scope: The key of `exclude` that it is under; `None` if nothing can be excluded.
        """
        from ptb_mongo.codec.troubles import UNREADABLE, told  # noqa: PLC0415  (as in `troubles`)

        reason = told(self.unreadable(plain), scope, error.reason, UNREADABLE)
        return error if reason is None else DecodeError(reason, path=error.path)

    @property
    def may_not_load(self) -> bool:
        """Whether it may be that the value that was encoded last cannot be decoded, or then not be copied."""
        return self._encoder.doubtful

    @property
    def doubtful(self) -> bool:
        """Whether the value that was decoded last has to be proven usable: see `check_usable`."""
        return self._decoder.doubtful

    def check_usable(self, value: object, *, copied: bool) -> None:
        """Refuses a value that could not be copied by PTB, or not be stored again, or that holds the bot.

        Args:
            value: What was decoded last.
            copied: Whether PTB copies it.

        Raises:
            DecodeError: If so.
        """
        if self._decoder.doubtful and self._decoder.holds_bot:
            raise DecodeError("it holds the bot, which cannot be copied, and whose text shows the token")
        if copied:
            check_copy(value)
        try:
            again = dump({"data": self._encoder.document(value)})
        except EncodeError as error:
            raise DecodeError(f"it could not be stored again: {error.reason}", path=error.path) from error
        if len(again) > MAX_SIZE:
            raise DecodeError("it would be larger than 16 MB when it is stored again")
        was_doubtful = self._decoder.doubtful
        try:
            self._decoder.document(load(again))
        except DecodeError as error:
            raise DecodeError(
                f"it could not be loaded when it is stored again: {error.reason}", path=error.path
            ) from error
        finally:
            self._decoder.doubtful = was_doubtful

    def decode_body(self, raw: bytes, body: dict[str, Any]) -> dict[str, Any]:
        """Decodes a document's fields, given also as the bytes they came in.

        The bytes tell in C whether there is anything to decode: most documents hold no tag and no escape.
        """
        if is_plain(raw):
            self._decoder.doubtful = False
            return body
        decoded: dict[str, Any] = self._decoder.document(body)
        return decoded
