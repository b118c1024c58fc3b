"""The types and signatures that PTB does not export, or does not check, are spelled as in PTB."""

from __future__ import annotations

import inspect
import types
import typing
from typing import Any

import pytest
from ptb_private import conversation_state, ptb_type
from telegram.ext import BasePersistence, ConversationHandler, PicklePersistence

import ptb_mongo.types as own_types
from ptb_mongo import MongoPersistence


def shape(annotation: Any) -> Any:
    """A type without the differences between `typing.List[int]` and `list[int]`, or between releases of PTB."""
    origin = typing.get_origin(annotation)
    if origin is None:
        return annotation
    arguments = [shape(argument) for argument in typing.get_args(annotation)]
    if origin in {typing.Union, types.UnionType}:
        return typing.Union, frozenset(arguments)
    return origin, tuple(arguments)


@pytest.mark.parametrize("name", ["ConversationKey", "ConversationDict", "CDCData"])
def test_a_type_that_ptb_keeps_private_is_spelled_as_ptb_has_it(name):
    assert shape(getattr(own_types, name)) == shape(ptb_type(name))


@pytest.mark.parametrize("name", ["UD", "CD", "BD"])
def test_a_type_variable_is_bound_no_more_than_that_of_ptb(name):
    own, theirs = getattr(own_types, name), ptb_type(name)

    assert (own.__name__, own.__bound__, own.__constraints__) == (name, None, ())
    assert (theirs.__name__, theirs.__bound__, theirs.__constraints__) == (name, None, ())


OVERRIDDEN = [
    name
    for name, function in vars(BasePersistence).items()
    if inspect.isfunction(function) and getattr(MongoPersistence, name) is not function and not name.startswith("_")
]


def test_every_method_that_ptb_calls_is_there():
    awaited = {name for name, function in vars(BasePersistence).items() if inspect.iscoroutinefunction(function)}

    assert len(awaited) == 16
    assert set(OVERRIDDEN) == awaited


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_an_overridden_method_has_the_parameters_that_ptb_calls_it_with(name):
    def parameters(cls: type) -> list[tuple[str, Any, Any]]:
        signature = inspect.signature(getattr(cls, name))
        return [(each.name, each.kind, each.default) for each in signature.parameters.values()]

    assert parameters(MongoPersistence) == parameters(BasePersistence)


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_an_overridden_method_is_awaited_as_ptb_awaits_it(name):
    method = getattr(MongoPersistence("mongodb://localhost"), name)

    given = method(*(None for _ in inspect.signature(method).parameters))

    assert inspect.iscoroutine(given)
    given.close()


@pytest.mark.parametrize(
    ("method", "keywords"),
    [
        ("refresh_user_data", ["user_id", "user_data"]),
        ("refresh_chat_data", ["chat_id", "chat_data"]),
        ("refresh_bot_data", ["bot_data"]),
        ("update_conversation", ["name", "key", "new_state"]),
    ],
)
def test_the_keywords_that_ptb_uses_are_accepted(method, keywords):
    """`CallbackContext.refresh_data` and `Application.update_persistence` name them; a wrong name drops each update."""
    arguments = dict.fromkeys(keywords)

    assert inspect.signature(getattr(MongoPersistence, method)).bind(None, **arguments).arguments.keys() > set(keywords)


@pytest.mark.parametrize("option", ["store_data", "update_interval", "on_flush", "context_types"])
def test_an_option_that_pickle_persistence_has_too_has_the_same_default(option):
    def default(cls: type) -> Any:
        return inspect.signature(cls).parameters[option].default

    assert default(MongoPersistence) == default(PicklePersistence)


def test_the_state_of_a_conversation_is_still_where_the_torture_test_looks_for_it() -> None:
    handler: ConversationHandler[Any] = ConversationHandler(entry_points=[], states={}, fallbacks=[])

    assert conversation_state(handler, (1, 1)) is None
