"""The documentation site: it builds without a warning, names what there is, and fetches nothing."""

import html.parser
import importlib.util
import inspect
import os
import re
import subprocess
import sys
import urllib.parse

import pytest

import flightnn_jax
from tests.support import prepared

pytestmark = pytest.mark.slow

DOCS = prepared.ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed: pip install '.[docs]'")
    directory = tmp_path_factory.mktemp("site")
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", directory],
        cwd=prepared.ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stderr
    return directory


class Page(html.parser.HTMLParser):
    """What a page fetches when it is shown, the pages that it links to, and its anchors."""

    def __init__(self, text):
        super().__init__()
        self.fetched, self.links, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.anchors.add(attributes.get("id"))
        if tag == "a":
            self.links.append(attributes.get("href"))
        elif tag == "link" and attributes["rel"] != "canonical":
            self.fetched.append(attributes["href"])
        elif attributes.get("src"):
            self.fetched.append(attributes["src"])


def test_every_document_is_a_page(site):
    documents = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert documents
    assert not [document for document in documents if not (site / document).is_file()]


def test_pages_fetch_nothing_from_elsewhere(site):
    for path in site.rglob("*.html"):
        for address in Page(path.read_text()).fetched:
            if path.name != "404.html":  # its addresses start at the site's root
                parts = urllib.parse.urlsplit(address)
                assert not parts.netloc, f"{path} fetches {address}"
                assert (path.parent / parts.path).is_file(), f"{path} lacks {address}"
    sheets = list(site.rglob("*.css"))
    assert sheets
    assert not [
        s for s in sheets if re.search(r"(@import|url\()\s*[\"']?(https?:)?//", s.read_text())
    ]


def test_public_names_are_documented(site):
    page = Page((site / "api" / "index.html").read_text())
    for name in flightnn_jax.__all__:
        thing = getattr(flightnn_jax, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert f"{thing.__module__}.{name}" in page.anchors, f"docs/api/index.md lacks {name}"


def test_equations_are_drawn(site):
    page = (site / "api" / "index.html").read_text()
    assert "<math" in page
    assert not [p for p in site.rglob("*.html") if ".. math::" in p.read_text()]
