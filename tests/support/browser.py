"""A headless Chromium, driven by the DevTools protocol over a pipe: no package, no port, no server.

Keys and the mouse are those of the browser's own input, so that focus, default actions and hit
tests are those of a user.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")

# Chromium reads commands from the descriptor 3 and answers on 4.
_LAUNCHER = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for number, end in enumerate(ends, 3):
    os.dup2(end, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
_KEYS = {  # name: (code, number, text)
    "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    "End": ("End", 35, ""),
    "Home": ("Home", 36, ""),
    "PageUp": ("PageUp", 33, ""),
    "PageDown": ("PageDown", 34, ""),
    "Tab": ("Tab", 9, ""),
    " ": ("Space", 32, " "),
}
_SECONDS = 20  # for an answer


class Page:
    """A tab, and what it said on the console or refused to load."""

    def __init__(self, browser, session):
        self._browser, self._session = browser, session
        self.complaints = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        return self._browser.call(method, params, self._session)

    def run(self, expression):
        """The value of a JavaScript expression, awaited."""
        told = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def settle(self):
        """Waits until what was asked for is drawn."""
        self.run("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")

    def go(self, address):
        """Opens a page; waits until its script has ended."""
        self.call("Page.navigate", url=address)
        deadline = time.monotonic() + _SECONDS
        ready = "document.readyState === 'complete' && document.documentElement.dataset.ready"
        while not self.run(ready):
            assert time.monotonic() < deadline, "the page did not get ready"
            time.sleep(0.02)

    def press(self, *keys):
        for key in keys:
            shift = key.startswith("Shift+")
            name = key.removeprefix("Shift+")
            code, number, text = _KEYS.get(name, ("", ord(name[0].upper()), name))
            event = {"key": name, "code": code, "windowsVirtualKeyCode": number}
            event |= {"modifiers": 8 if shift else 0} | ({"text": text} if text else {})
            self.call("Input.dispatchKeyEvent", type="keyDown", **event)
            self.call("Input.dispatchKeyEvent", type="keyUp", **event)
        self.settle()

    def click(self, selector, dx=0.0, dy=0.0):
        """Clicks the middle of the first such element, or a place beside it."""
        x, y = self.run(
            f"""(() => {{ const node = document.querySelector({json.dumps(selector)});
            node.scrollIntoView({{block: "center"}}); const box = node.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2]; }})()"""
        )
        self.point(x + dx, y + dy)
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x + dx,
                y=y + dy,
                button="left",
                clickCount=1,
            )
        self.settle()

    def point(self, x, y):
        """Moves the mouse."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def size(self, width, height):
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.settle()

    def media(self, **features):
        """Emulates a medium and its features, such as prefers_color_scheme="dark"."""
        medium = features.pop("medium", "")
        listed = [{"name": n.replace("_", "-"), "value": v} for n, v in features.items()]
        self.call("Emulation.setEmulatedMedia", media=medium, features=listed)
        self.settle()

    def picture(self, path, whole=False):
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def names(self):
        """[(role, name)] of the accessibility tree, without what is ignored."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]


class Browser:
    """The process; `page` opens a tab."""

    def __init__(self, directory):
        own_in, theirs_out = os.pipe()
        theirs_in, own_out = os.pipe()
        self._in, self._out, self._rest, self._number = own_in, own_out, b"", 0
        self._pages = {}
        words = [CHROMIUM, "--headless=new", "--remote-debugging-pipe", "--disable-gpu"]
        words += ["--no-first-run", "--disable-extensions", "--disable-background-networking"]
        words += [f"--user-data-dir={directory}", "about:blank"]
        if os.geteuid() == 0:
            words.insert(1, "--no-sandbox")
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _LAUNCHER, str(theirs_in), str(theirs_out), *words],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)

    def call(self, method, params=None, session=None):
        """The result of a method; events on the way are kept with their page."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params or {}}
        message |= {"sessionId": session} if session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, (method, told)
                return told["result"]
            page = self._pages.get(told.get("sessionId"))
            if page and told.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                page.complaints.append(told["params"])

    def _next(self):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], _SECONDS)
            assert ready, "Chromium does not answer"
            data = os.read(self._in, 1 << 20)
            assert data, "Chromium has ended"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def page(self):
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        page = Page(self, session["sessionId"])
        self._pages[session["sessionId"]] = page
        return page

    def downloads(self, directory):
        """Where files that pages save go."""
        self.call(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(directory)}
        )

    def close(self):
        with contextlib.suppress(OSError, AssertionError):
            self.call("Browser.close")
        for end in (self._in, self._out):
            os.close(end)
        try:
            self._process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextlib.contextmanager
def started():
    """A browser with a profile of its own, which goes when the block ends."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        browser = Browser(directory)
        try:
            yield browser
        finally:
            browser.close()
