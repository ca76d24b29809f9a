"""For the site: our docstrings say `Example:`, what reads them wants `Examples:` to show code."""

import griffe


class Examples(griffe.Extension):
    """Renames the section where it is read."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Renames it in one object's docstring."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
