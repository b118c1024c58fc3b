"""A plug-in for the documentation generator: `Example:` in a docstring contains a program, not a quotation.

Griffe knows the section `Examples:`. It treats the singular, which Google's style also allows, as an admonition in
Markdown, where `>>>` means three nested quotations.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object


class Examples(Extension):
    """Renames each such section to the name that Griffe knows."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called with each loaded object."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
