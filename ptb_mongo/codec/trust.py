"""Decides which classes may be stored and restored: the one gate for pickles, objects and enums.

A class is named by its module and qualified name; a name is resolved only when it is one of PTB's value
types, one of the standard library's value types written out here, or covered by `trusted`. Only a class that
is defined under just that name passes: never a function, never what a module merely imported.
"""

from __future__ import annotations

import enum
import importlib
import sys
import types
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import telegram
import telegram.constants
import telegram.error
import telegram.ext

from ptb_mongo.codec.advice import advice
from ptb_mongo.codec.aliases import Aliases, way_out
from ptb_mongo.codec.bounds import shown
from ptb_mongo.codec.standard_names import standard_classes, standard_enum
from ptb_mongo.codec.trusted_modules import find_modules, import_modules, module_in
from ptb_mongo.errors import ConfigurationError, DecodeError, EncodeError

__all__ = ["DEFAULT_NONE", "DEFAULT_VALUE", "Trust", "generic_model_of"]

DEFAULT_NONE: Final = telegram.LinkPreviewOptions().is_disabled
"""The value "use the default" inside Telegram objects, which they compare by identity. PTB exports neither it nor
its class: reached through an attribute that holds it, so that no private module is named."""

DEFAULT_VALUE: Final[type] = type(DEFAULT_NONE)


def class_name(cls: type) -> str:
    """The name under which a class is stored; PTB's own by their public names, which survive its releases."""
    for namespace in (telegram, telegram.ext):
        if cls.__module__.startswith("telegram.") and getattr(namespace, cls.__name__, None) is cls:
            return f"{namespace.__name__}.{cls.__name__}"
    origin = generic_model_of(cls) or cls
    return f"{origin.__module__}.{cls.__qualname__}"


def generic_model_of(cls: type) -> type | None:
    """Of `Model[int]`, a class that pydantic has made, `Model`; its own module is where it was written first."""
    made_from = getattr(cls, "__pydantic_generic_metadata__", None)
    origin = made_from.get("origin") if type(made_from) is dict else None
    return origin if isinstance(origin, type) else None


def _is_telegram_value(cls: type) -> bool:
    if cls.__module__ != "telegram" and not cls.__module__.startswith("telegram."):
        return False
    if issubclass(cls, telegram.TelegramObject):
        return not issubclass(cls, telegram.Bot)
    return (
        issubclass(cls, (enum.Enum, telegram.error.TelegramError))
        or cls is DEFAULT_VALUE
        or cls is telegram.ext.InvalidCallbackData
    )


def _class_in(module: types.ModuleType, qualname: str) -> type | None:
    """The class that is *defined* in `module` under `qualname`; without running descriptors or `__getattr__`."""
    found: object = module
    for part in qualname.split("."):
        found = vars(found).get(part) if isinstance(found, (type, types.ModuleType)) else None
    if isinstance(found, type) and (found.__module__, found.__qualname__) == (module.__name__, qualname):
        return found
    return None


def _names_in(module: str) -> dict[str, Any]:
    """What a module that is imported defines; it is not asked, as it may have a `__getattr__`."""
    return vars(sys.modules[module]) if module in sys.modules else {}


def _checked_function(function: types.FunctionType) -> str:
    if "<" in function.__qualname__:
        raise ConfigurationError(
            f"{function.__qualname__} cannot be found again by its name: it is no function of a module"
        )
    return f"{function.__module__}.{function.__qualname__}"


class Trust:
    """The classes that may be stored and restored.

    Args:
        trusted: Classes, or names of modules whose own classes (not their submodules') are trusted; and functions
            that fill a `defaultdict`, each by itself: of a module, one could be named that was never meant for it.
        aliases: Classes by the names that they had before; they are trusted, too.

    Raises:
        ConfigurationError: If an entry is neither, or the name of no module, or an alias cannot be used.
    """

    def __init__(
        self,
        trusted: Iterable[type | str | types.FunctionType] = (),
        aliases: Mapping[str, type] = MappingProxyType({}),
    ) -> None:
        self._by_name: dict[str, type] = standard_classes()
        self._names: dict[type, str] = {cls: name for name, cls in self._by_name.items()}
        self._standard = frozenset(self._names)
        self._modules: set[str] = set()
        self._functions: dict[str, types.FunctionType] = {}
        if isinstance(trusted, (str, type)):
            raise ConfigurationError(f"trusted takes a collection of classes or module names: ({trusted!r},)")
        for entry in trusted:
            if isinstance(entry, type):
                self._by_name.setdefault(f"{entry.__module__}.{entry.__qualname__}", entry)
                self._remember(class_name(entry), entry)
            elif isinstance(entry, str):
                self._modules.add(entry)
            elif isinstance(entry, types.FunctionType):
                self._functions[_checked_function(entry)] = entry
            else:
                raise ConfigurationError(
                    f"trusted takes classes, functions or names of modules, not {type(entry).__name__}: {entry!r}"
                )
        self._aliases = Aliases(aliases, class_name)
        for old, cls in self._aliases.classes.items():
            self._add_alias(old, cls)
        find_modules(self._modules)

    def import_modules(self) -> None:
        """Imports the modules whose classes are trusted.

        Raises:
            ConfigurationError: If one cannot be imported.
        """
        import_modules(self._modules)

    def _add_alias(self, old: str, cls: type) -> None:
        if (known := self._by_name.get(old)) is not None and known in self._standard:
            raise ConfigurationError(f"aliases has the name {old!r:.200}, which is one of Python's or MongoDB's own")
        if self._telegram_class(old) is not None:
            raise ConfigurationError(f"aliases has the name {old!r:.200}, which is one of PTB's own")
        if known is not None:
            del self._names[known]
        self._by_name[old] = cls
        if cls not in self._names:
            self._remember(class_name(cls), cls)

    def _remember(self, name: str, cls: type) -> type:
        self._by_name[name] = cls
        self._names[cls] = name
        return cls

    def is_standard(self, cls: type) -> bool:
        """Whether a class is one of the standard library's value types."""
        return cls in self._standard

    def covers(self, module: str) -> bool:
        """Whether a module is trusted by its name, so that naming it again helps nobody."""
        return module in self._modules

    def has_alias(self, name: str) -> bool:
        """Whether a class was renamed by the user."""
        return self._aliases.renamed(name) is not None

    def name_of(self, cls: type) -> str:
        """The stored name of a class that may be stored.

        Raises:
            EncodeError: If it may not; the text holds the line that would allow it.
        """
        if name := self._names.get(cls):
            return name
        name = class_name(cls)
        if renamed := self._aliases.renamed(name):
            raise EncodeError(
                f"the name {name} stands for {renamed} now, as aliases says, but this is still an object of the old "
                "class: make it of the new one"
            )
        if "<locals>" in cls.__qualname__:
            raise EncodeError(
                f"{name} is defined inside a function, so it cannot be found again when it is loaded; "
                "define it at the top level of a module"
            )
        if _is_telegram_value(cls) or standard_enum(name) is cls or self._in_trusted_module(name) is cls:
            self._remember(name, cls)
            return name
        if (model := generic_model_of(cls)) is not None:
            raise EncodeError(
                f"{cls.__qualname__} is made where it is written, so that another program may not find it by a name: "
                f"derive a class from it, class MyModel({cls.__qualname__}): ..., write it at the top level of "
                f"{model.__module__}, if that is trusted, or pass it itself: "
                f"MongoPersistence(..., trusted=[{cls.__qualname__}])"
            )
        if instead := advice(cls):
            raise EncodeError(f"a {cls.__qualname__} cannot be stored; {instead}")
        if self.covers(cls.__module__):
            raise EncodeError(
                f"{cls.__module__} is trusted, but {cls.__qualname__} there is not this class, so that it would not be "
                f"found when it is loaded; pass the class itself: MongoPersistence(..., trusted=[{cls.__qualname__}])"
            )
        raise EncodeError(
            f"objects of {name} are not stored, because loading them would run that class's code; "
            f'if it is yours, allow it: MongoPersistence(..., trusted=["{cls.__module__}"])'
        )

    def name_of_function(self, function: Any) -> str:
        """The stored name of a function that fills a `defaultdict`.

        Raises:
            EncodeError: If it is not trusted; the text says what to do.
        """
        name = f"{getattr(function, '__module__', None)}.{getattr(function, '__qualname__', type(function).__name__)}"
        if self._functions.get(name) is function:
            return name
        if not isinstance(function, types.FunctionType) or "<" in name:
            raise EncodeError(
                "the factory of a defaultdict is stored if it is a class, or a function at the top level of a module "
                "that is trusted; write such a function, or store dict(value)"
            )
        raise EncodeError(
            f"the factory of a defaultdict, {name}, is not trusted, and loading it would let it run; "
            f"allow it: MongoPersistence(..., trusted=[{function.__name__}]), or store dict(value)"
        )

    def function(self, name: object) -> types.FunctionType:
        """The function of a stored name.

        Raises:
            DecodeError: If it is not trusted.
        """
        new = (self._aliases.renamed(name) or name) if type(name) is str else ""
        if (function := self._functions.get(new)) is not None:
            return function
        raise DecodeError(
            f"the function {shown(new or name, 200)} is not trusted; allow it: MongoPersistence(..., trusted=[...])"
        )

    def resolve(self, name: object) -> type:
        """The class of a stored name.

        Raises:
            DecodeError: If it is not trusted, does not exist any more, or is not a class of its own name.
        """
        if type(name) is not str:
            raise DecodeError(f"the name of a class is a {type(name).__name__}")
        if cls := self._by_name.get(name):
            return cls
        new = self._aliases.renamed(name) or name
        known = self._by_name.get(new) or self._telegram_class(new) or standard_enum(new)
        if cls := known or self._in_trusted_module(new):
            self._by_name[name] = cls
            return self._remember(new, cls)
        if module := self.gone_from(new):
            raise DecodeError(f"the class {new!r:.200} does not exist in {module}, which is trusted; {way_out(name)}")
        raise DecodeError(
            f"the class {new!r:.200} is not trusted, or does not exist any more; if it is yours, "
            f'allow it: MongoPersistence(..., trusted=["{module_in(new):.200}"]); {way_out(name)}'
        )

    def gone_from(self, name: str) -> str | None:
        """The trusted module that a class would be in, which is not there; `None` if it may be in another one."""
        for module in self._modules:
            rest = name.removeprefix(f"{module}.")
            first = rest.partition(".")[0]
            if rest != name and (first == rest or isinstance(_names_in(module).get(first), type)):
                return module
        return None

    def _telegram_class(self, name: str) -> type | None:
        prefix, _, attribute = name.rpartition(".")
        for module in (telegram, telegram.ext, telegram.constants, telegram.error):
            if prefix == module.__name__:
                cls = vars(module).get(attribute)
                return cls if isinstance(cls, type) and _is_telegram_value(cls) else None
        return DEFAULT_VALUE if name == class_name(DEFAULT_VALUE) else None

    def _in_trusted_module(self, name: str) -> type | None:
        for module in self._modules:
            if name.startswith(f"{module}."):
                try:
                    found = _class_in(importlib.import_module(module), name[len(module) + 1 :])
                except ImportError as error:
                    raise DecodeError(f"the trusted module {module!r} cannot be imported: {error}") from error
                if found:
                    return found
        return None
