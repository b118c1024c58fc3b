"""A plug-in of the documentation's generator: `Example:` in a docstring is a program, not a quotation.

Griffe knows the section `Examples:`. It takes the singular, which Google's style allows as well, for a box of Markdown,
in which `>>>` means a quotation within two others.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object


class Examples(Extension):
    """Gives each such section the name that Griffe knows."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Is called with each object that was loaded."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
