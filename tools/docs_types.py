"""For the site: gives the core's classes and functions the types of `_cagan.pyi`; a compiled module has none."""

import inspect
from pathlib import Path
from typing import Any

import cagan
import griffe

STUBS = Path(__file__).parents[1] / "python" / "cagan" / "_cagan.pyi"


def _aliases(stubs: griffe.Module) -> dict[str, str]:
    """The stub's private names for types, such as `_Path`, spelt out."""
    return {
        name: str(one.value)
        for name, one in stubs.members.items()
        if isinstance(one, griffe.Attribute) and name[0] == "_"
    }


class Types(griffe.Extension):
    """Merges the stub into what inspection found: annotations of the stub, defaults and docs of the module."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Merges when the whole package is loaded."""
        if pkg.name != "cagan":
            return
        stubs = griffe.visit("_cagan", filepath=STUBS, code=STUBS.read_text(encoding="utf-8"))
        self.names = _aliases(stubs)
        for name, stub in stubs.members.items():
            found = pkg.members.get(name)
            if found is not None and not stub.is_alias:
                self._merge(found.final_target if found.is_alias else found, stub)

    def _text(self, annotation: Any) -> str | None:
        """A type as text, without the stub's private names."""
        if annotation is None:
            return None
        text = str(annotation)
        # An alias may name another one.
        for _ in range(3):
            for name, value in self.names.items():
                text = text.replace(name, value) if name in text else text
        return text.replace("'", '"')

    def _merge(self, found: Any, stub: Any) -> None:
        if stub.is_class:
            for name, member in stub.members.items():
                if name in found.members:
                    self._merge(found.members[name], member)
            for name, forms in stub.overloads.items():
                if forms and name in found.members:
                    self._signature(found.members[name], forms)
            if "__new__" in stub.members:
                self._construct(found, stub.members["__new__"])
        elif stub.is_function and found.is_function:
            self._signature(found, [stub])
        elif stub.is_attribute and found.is_attribute:
            found.annotation = self._text(stub.annotation)

    def _signature(self, found: griffe.Function, forms: list[griffe.Function]) -> None:
        """Annotates parameters and result; of several forms the types are joined."""
        for parameter in found.parameters:
            name = parameter.name
            texts = [self._text(form.parameters[name].annotation) for form in forms if name in form.parameters]
            parameter.annotation = self._joined(texts)
        found.returns = self._joined([self._text(form.returns) for form in forms])

    def _construct(self, found: griffe.Class, new: griffe.Function) -> None:
        """Adds how a class is called, which a compiled class does not tell; defaults are those of the module."""
        real = inspect.signature(getattr(cagan, found.name)).parameters
        parameters = []
        for parameter in list(new.parameters)[1:]:
            default = real[parameter.name].default if parameter.name in real else inspect.Parameter.empty
            given = None if default is inspect.Parameter.empty else repr(default)
            annotation = self._text(parameter.annotation)
            parameters.append(
                griffe.Parameter(parameter.name, kind=parameter.kind, annotation=annotation, default=given)
            )
        first = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
        found.set_member("__init__", griffe.Function("__init__", parameters=griffe.Parameters(first, *parameters)))

    @staticmethod
    def _joined(texts: list[str | None]) -> str | None:
        if 2 * texts.count("Any") > len(texts):
            return "Any"
        known = list(dict.fromkeys(part.strip() for text in texts if text for part in _parts(text)))
        if "Any" in known and len(known) > 1:
            known.remove("Any")
        return " | ".join(sorted(known, key=lambda part: part == "None")) or None


def _parts(text: str) -> list[str]:
    """The members of a union, not cut inside brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts
