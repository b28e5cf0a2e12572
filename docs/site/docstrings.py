"""What mkdocstrings does not read in this project's docstrings by itself, put as it reads it."""

import re
import textwrap
from typing import Any

import griffe
import latex2mathml.converter

# The directive, its text, and the lines that go on with it: those indented deeper.
_MATH = re.compile(r"^( *)\.\. math:: (.*(?:\n\1 +\S.*)*)$", re.MULTILINE)
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
_COMMAND = re.compile(r"^(?=(?:python -m|flightnn) \S+ )", re.MULTILINE)
_REFERENCE = re.compile(r"^Reference: ", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Changes the docstrings of all modules, classes, functions and attributes."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for everything that it reads."""
        del kwargs
        if obj.docstring is not None:
            obj.docstring.value = translate(obj.docstring.value)


def translate(docstring: str) -> str:
    """Equations become MathML, which browsers draw without a script; commands become code."""
    docstring = _MATH.sub(_mathml, textwrap.dedent(docstring))
    docstring = _COMMAND.sub("    ", docstring)
    docstring = _REFERENCE.sub("**Reference:** ", docstring)
    return _EXAMPLE.sub("Examples:", docstring)


def _mathml(directive: re.Match[str]) -> str:
    indent, latex = directive.groups()
    mathml = latex2mathml.converter.convert(" ".join(latex.split()), display="block")
    return textwrap.indent(f"\n{mathml}\n", indent)
