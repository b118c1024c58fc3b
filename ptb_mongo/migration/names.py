"""Resolves the names in a foreign pickle to classes, functions or stand-ins; imports only trusted modules."""

from __future__ import annotations

import contextlib
import enum
import sys
import types
from typing import Final

from ptb_mongo.codec.trust import DEFAULT_VALUE, Trust, class_name
from ptb_mongo.errors import DecodeError
from ptb_mongo.migration.library_values import LIBRARY_NAMES, Maker
from ptb_mongo.migration.weapons import is_of_python, is_weapon, takes_a_name

__all__ = ["Function", "HostilePickleError", "Names", "StandIn", "stands_in"]

_PUBLIC: Final = ("telegram", "telegram.ext", "telegram.constants", "telegram.error")
_OF_VIDEO_CHATS: Final = ("Started", "Ended", "Scheduled", "ParticipantsInvited")
_MOVED: Final = {"pathlib._local": "pathlib"}  # where Python 3.13 defines them
# Classes that PTB has renamed since version 13.
_RENAMED: Final = {
    **{f"telegram.VoiceChat{end}": f"telegram.VideoChat{end}" for end in _OF_VIDEO_CHATS},
    "telegram.error.Unauthorized": "telegram.error.Forbidden",
    "telegram.utils.helpers.DefaultValue": class_name(DEFAULT_VALUE),
}
_LONGEST_NAME: Final = 100


class HostilePickleError(DecodeError):
    """A pickle was crafted to run code."""

    def __init__(self, module: str, name: str) -> None:
        own = f". If {module:.80} is a module of yours: --trust {module:.80}" if takes_a_name(module) else ""
        super().__init__(
            f"the pickle wants {module:.80}.{name:.80}, which no bot's data needs: somebody has made it to run code on "
            f"this machine. Nothing was run; do not load this file with anything else{own}"
        )


class StandIn:
    """Replaces an object whose class may not be loaded; contains nothing and does nothing."""

    __slots__ = ()


def stands_in(obj: object) -> bool:
    """Whether an object is a stand-in, or the class of one."""
    return isinstance(obj, StandIn) or (isinstance(obj, type) and issubclass(obj, StandIn))


class Function(enum.Enum):
    """The functions that a pickle may name; the unpickler does their work."""

    RECONSTRUCT_TO = "telegram.ext._picklepersistence._reconstruct_to"
    NEWOBJ = "copyreg.__newobj__"
    NEWOBJ_EX = "copyreg.__newobj_ex__"
    RECONSTRUCTOR = "copyreg._reconstructor"
    GETATTR = "builtins.getattr"
    OR = "_operator.or_"
    FRACTION = "fractions.Fraction"
    RANGE = "builtins.range"
    PATTERN = "re._compile"
    ZONE = "zoneinfo.ZoneInfo"
    CACHED_ZONE = "zoneinfo.ZoneInfo._unpickle"
    PYTZ_UTC = "pytz._UTC"
    PYTZ = "pytz._p"
    PYTZ_OFFSET = "pytz.FixedOffset"
    STRUCT = "msgspec._utils.rebuild"


class Names:
    """Resolves names.

    Args:
        trust: Which classes may be loaded.

    Attributes:
        refused: Names that may not be loaded, each with the reason.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._found: dict[tuple[str, str], type | types.FunctionType | Function | Maker] = {**LIBRARY_NAMES}
        for function in Function:
            module, _, name = function.value.rpartition(".")
            self._found[module, name] = function
        self.refused: dict[str, str] = {}
        self._stand_ins: dict[tuple[str, str], type[StandIn]] = {}

    def find(self, module: str, name: str) -> type | types.FunctionType | Function | Maker:
        """What a name refers to.

        Raises:
            HostilePickleError: If only an attacker would use it.
        """
        found = self._found.get((module, name))
        if found is None:
            found = self._found[module, name] = self._class(module, name)
        return found

    def _class(self, module: str, name: str) -> type | types.FunctionType:
        if is_weapon(module, name) and not self._is_of_the_users(module, name):
            raise HostilePickleError(module, name)
        names = [f"{_MOVED.get(module, module)}.{name}"]
        if module.partition(".")[0] == "telegram":  # PTB moves its classes; their public names stay
            names = [*(f"{public}.{name}" for public in _PUBLIC), *names]
            names += [_RENAMED[known] for known in names if known in _RENAMED]
        reason = ""
        for candidate in names:
            try:
                return self._trust.resolve(candidate)
            except DecodeError as error:
                reason = error.reason
        with contextlib.suppress(DecodeError):
            return self._trust.function(f"{module}.{name}")
        if module.partition(".")[0] in sys.stdlib_module_names:
            reason = "it belongs to Python, and is no value that can be stored"
        return self.stand_in(module, name, reason)

    def _is_of_the_users(self, module: str, name: str) -> bool:
        """Whether the user has given an alias or trusts a module, and it is not Python's module of the same name."""
        return self._trust.has_alias(f"{module}.{name}") or (self._trust.covers(module) and not is_of_python(module))

    def stand_in(self, module: str, name: str, reason: str) -> type[StandIn]:
        """A class that the codec refuses to store, under the name that the user knows."""
        module, name = (part.replace("\0", "?")[:_LONGEST_NAME] for part in (module, name))
        self.refused.setdefault(f"{module}.{name}", reason)
        made = self._stand_ins.get((module, name))
        if made is None:
            short = name.rpartition(".")[2].encode("utf-8", "replace").decode()
            made = type(short, (StandIn,), {"__slots__": (), "__module__": module, "__qualname__": name})
            self._stand_ins[module, name] = made
        return made
