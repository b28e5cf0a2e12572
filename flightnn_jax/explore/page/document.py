"""The HTML around the data: style and script stand in it, and nothing else may run or be fetched.

The policy names the style and the script by their hashes, so that what data is made to look like a
script or a style would not be one.
"""

import base64
import hashlib
import html
import json
import string
from importlib import resources
from typing import Any

_SCRIPTS = ("model.js", "chart.js", "panel.js", "table.js", "main.js")


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def render(title: str, data: dict[str, Any]) -> str:
    """The document; the same data gives the same text."""
    style = _asset("style.css")
    parts = "\n".join(_asset(name) for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{parts}\n}})();\n'
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return string.Template(_asset("page.html")).substitute(
        POLICY=policy,
        TITLE=html.escape(title),
        STYLE=style,
        # No tag can end or begin in a JSON text without this sign.
        DATA=text.replace("<", "\\u003c"),
        SCRIPT=script,
    )
