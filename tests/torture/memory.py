"""What a bot has in memory: changes it as a handler does, and notes what was changed there by others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edits import Edit
from history import Document, Keys, Recorder, Value, leaves


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

    def look(self, document: Document) -> None:
        """Notes what others have changed since it was looked at last."""
        now = dict(leaves(self._live(document)))
        before = self._known.get(document)
        if before is not None and before != now:
            changed = [path for path in {**before, **now} if before.get(path) != now.get(path)]
            self._recorder.note("saw", document=document, values=[(path, now.get(path)) for path in changed])
        self._known[document] = now

    def change(self, document: Document, edit: Edit) -> list[int]:
        """Makes a change, without waiting, so that what is noted is what is done; the numbers of the writes."""
        self.look(document)
        *way, last = edit.path
        data = self._live(document)
        for key in way:
            if edit.value is None and key not in data:
                return []
            data = data.setdefault(key, {})
        if edit.value is None and (last not in data or not self._is_effective(document, edit.path)):
            return []
        number = self._recorder.write(document, edit.path, edit.value)
        if edit.value is None:
            del data[last]
        else:
            data[last] = dict(edit.value) if isinstance(edit.value, dict) else edit.value
        self._known[document] = dict(leaves(self._live(document)))
        return [number]

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

    def _is_effective(self, document: Document, path: Keys) -> bool:
        """Whether a removal tells the database anything: one of what is not saved yet does not, if it is shared."""
        value = self._known[document].get(path)
        own = isinstance(value, str) and value.startswith(f"{self._name}.")
        return path[-1].startswith(self._name) or not own
