"""What a bot has in memory: changes it as a handler does, and notes what was changed there by others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edits import Edit
from history import Document, Recorder
from values import CUT_ABOVE, CUT_TO, EXCLUDED, SECRET, Container, Keys, Thing, Value, leaves, tree, without_excluded


class Memory:
    """The live objects of an application.

    Args:
        name: The bot's.
        recorder: Notes.
        live: The object of a document that handlers have now.
    """

    def __init__(self, name: str, recorder: Recorder, live: Callable[[Document], Any]) -> None:
        self._name = name
        self._recorder = recorder
        self._live = live
        self._known: dict[Document, dict[Keys, Value]] = {}
        self._excluded: dict[Document, Any] = {}

    def has_seen(self, document: Document) -> bool:
        """Whether a handler has seen something in it."""
        return bool(self._known.get(document))

    def look(self, document: Document) -> None:
        """Notes what others have changed since it was looked at last."""
        data = self._live(document)
        now = _leaves(data)
        before = self._known.get(document)
        if before is not None and before != now:
            changed = [path for path in {**before, **now} if before.get(path) != now.get(path)]
            self._recorder.note("saw", document=document, values=[(path, now.get(path)) for path in changed])
        self._known[document] = now
        if (found := data.get(EXCLUDED)) != (expected := self._excluded.get(document)):
            text = f"{document}: what is never stored was {expected!r}, and is {found!r} without the bot having done it"
            self._recorder.note("problem", text=text)
            self._excluded[document] = found

    def change(self, document: Document, edit: Edit) -> list[int]:
        """Makes a change, without waiting, so that what is noted is what is done; the numbers of the writes."""
        self.look(document)
        change = self._change_value if edit.container is None else self._change_container
        numbers = change(document, edit)
        self._known[document] = _leaves(self._live(document))
        return numbers

    def exclude(self, document: Document) -> None:
        """Puts something there that must not be stored."""
        self.look(document)
        self._excluded[document] = {"text": SECRET + self._recorder.value()}
        self._live(document)[EXCLUDED] = dict(self._excluded[document])

    def drop(self, document: Document, drop: Callable[[], None]) -> list[int]:
        """Lets PTB drop a document: a promise for what the bot knows, which may also hit what it does not.

        One that this process has never loaded, or has dropped, is left alone: an update before the next save would
        load it, and PTB does not say which of both came first.
        """
        if not self._known.get(document):
            return []
        self.look(document)
        numbers = [
            self._recorder.write(document, path, None, binding=self._is_effective(document, path))
            for path in self._known[document]
        ]
        numbers.append(self._recorder.write(document, (), None, binding=False))
        drop()
        self._known[document] = {}
        return numbers

    def _change_value(self, document: Document, edit: Edit) -> list[int]:
        *way, last = edit.path
        data = self._live(document)
        for key in way:
            if edit.value is None and _get(data, key) is None:
                return []
            data = getattr(data, key) if isinstance(data, Thing) else data.setdefault(key, {})
        if edit.value is None and (_get(data, last) is None or not self._is_effective(document, edit.path)):
            return []
        number = self._recorder.write(document, edit.path, edit.value)
        value = dict(edit.value) if isinstance(edit.value, dict) else edit.value
        if isinstance(data, Thing):
            setattr(data, last, value)
        elif value is None:
            del data[last]
        else:
            data[last] = value
        return [number]

    def _change_container(self, document: Document, edit: Edit) -> list[int]:
        assert edit.container is not None
        items = self._live(document)
        for key in edit.container.path:
            items = _get(items, key)
            if items is None:
                return []  # somebody has lost it, which will be found out
        if edit.is_cut:
            return self._cut(document, edit.container, items)
        element = edit.path[-1]
        if (edit.value is None) == (element not in items):
            return []
        number = self._recorder.write(document, edit.path, edit.value)
        if isinstance(items, list):
            items.append(element)
        elif edit.value is None:
            items.discard(element)
        else:
            items.add(element)
        return [number]

    def _cut(self, document: Document, container: Container, items: list[Any]) -> list[int]:
        if len(items) <= CUT_ABOVE:
            return []
        gone = items[:-CUT_TO]
        numbers = [self._recorder.write(document, (*container.path, element), None) for element in tree(gone)]
        del items[:-CUT_TO]
        return numbers

    def _is_effective(self, document: Document, path: Keys) -> bool:
        """Whether a removal tells the database anything: one of what is not saved yet does not, if it is shared."""
        value = self._known[document].get(path)
        own = isinstance(value, str) and value.startswith(f"{self._name}.")
        return path[-1].startswith(self._name) or not own


def _leaves(data: Any) -> dict[Keys, Value]:
    return dict(leaves(tree(without_excluded(data))))


def _get(data: Any, key: str) -> Any:
    return getattr(data, key, None) if isinstance(data, Thing) else data.get(key)
