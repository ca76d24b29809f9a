"""For the site: shows the code under `Example:` in docstrings; griffe knows only `Examples:`."""

import griffe


class Examples(griffe.Extension):
    """Renames the section when griffe reads it."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Renames the section in one object's docstring."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
