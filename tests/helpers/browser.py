"""A real browser that is driven as a person would: keys, wheel, touch and windows of any width, without a network."""

import fcntl
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.tools import chromium


class Browser:
    """Chromium through its debugging pipe; one page."""

    def __init__(self, folder: Path) -> None:
        command = chromium()
        if os.name != "posix":
            pytest.skip("the browser's pipe needs descriptors")
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
        flags += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={folder / 'profile'}"]
        # The pipe's ends are the descriptors 3 and 4 there; both are moved out of their way before.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 64) for end in (to_browser, from_browser)]
        self._process = subprocess.Popen(
            [command, *flags, "--remote-debugging-pipe"], close_fds=False, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=lambda: [os.dup2(end, n) for n, end in enumerate(ends, start=3)],
        )  # fmt: skip
        for end in ends:
            os.close(end)
        os.close(to_browser)
        os.close(from_browser)
        self._rest, self._number, self._session = b"", 0, ""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                part = os.read(self._read, 1 << 16)
                assert part, "the browser has ended"
                self._rest += part
            line, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, page: Path) -> None:
        """Show a page and wait until it is loaded."""
        self.send("Page.navigate", url=page.as_uri())
        self.wait("location.protocol === 'file:' && document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """What JavaScript gives."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, condition: str) -> None:
        """Until JavaScript says so, for half a minute at most."""
        pause = "await new Promise(function (r) { setTimeout(r, 25); })"
        loop = f"for (let n = 0; n < 1200 && !({condition}); n += 1) {pause}; return !!({condition});"
        loop = f"(async function () {{ {loop} }})()"
        for _ in range(20):
            try:
                assert self.value(loop), condition
            except AssertionError as error:
                if "navigated" not in str(error):  # the page that was asked has just made place for the next one
                    raise
                time.sleep(0.25)
            else:
                return
        raise AssertionError(condition)

    def middle(self, selector: str) -> tuple[float, float]:
        """The middle of an element that is brought into view."""
        box = "const r = e.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2];"
        found = f"const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{ block: 'center' }});"
        x, y = self.value(f"(function () {{ {found} {box} }})()")
        return x, y

    def click(self, selector: str) -> None:
        """Press and release the mouse on an element."""
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, name: str) -> None:
        """Press a key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=name, code=name)

    def wheel(self, selector: str, delta: float) -> None:
        """Turn the wheel over an element; away from the hand is negative."""
        x, y = self.middle(selector)
        self.send("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=delta)

    def swipe(self, selector: str, up: float) -> None:
        """Move a finger upwards over an element."""
        x, y = self.middle(selector)
        self.send("Emulation.setTouchEmulationEnabled", enabled=True)
        self.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        for step in range(1, 11):
            self.send("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": x, "y": y - up * step / 10}])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
