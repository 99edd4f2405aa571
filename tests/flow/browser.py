"""A headless Chromium, driven over its own pipe: DevTools messages as JSON, each ended by a NUL, on descriptors 3 and 4."""

import base64
import json
import os
import shutil
import subprocess
import threading
import time

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
DEADLINE_S = 20
KEYS = {
    "Enter": (13, "\r"),
    "Tab": (9, None),
    "Escape": (27, None),
    "ArrowRight": (39, None),
    "ArrowLeft": (37, None),
    " ": (32, " "),
}


def program():
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    def __init__(self, directory):
        ours, theirs = os.pipe(), os.pipe()  # we read ours[0], it reads theirs[0]

        def give():
            # To high numbers first, so that neither is overwritten before it is given.
            high = (os.dup2(theirs[0], 100), os.dup2(ours[1], 101))
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-extensions"]
        flags += ["--disable-background-networking", "--remote-debugging-pipe", f"--user-data-dir={directory}"]
        self.process = subprocess.Popen(
            [program(), *flags],
            preexec_fn=give,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[1])
        os.close(theirs[0])
        self.into, self.out = theirs[1], os.fdopen(ours[0], "rb", buffering=0)
        self.replies, self.events, self.number = {}, [], 0
        self.news = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.into)

    def read(self):
        left = b""
        while got := self.out.read(1 << 20):
            *whole, left = (left + got).split(b"\0")
            with self.news:
                for message in map(json.loads, whole):
                    if "id" in message:
                        self.replies[message["id"]] = message
                    else:
                        self.events.append(message)
                self.news.notify_all()
        self.out.close()

    def call(self, method, session=None, **parameters):
        with self.news:
            self.number += 1
            number = self.number
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self.into, json.dumps(message).encode() + b"\0")
        with self.news:
            assert self.news.wait_for(lambda: number in self.replies, DEADLINE_S), f"the browser does not answer {method}"
            reply = self.replies.pop(number)
        assert "error" not in reply, (method, reply)
        return reply["result"]

    def open(self, url, width=1280, height=900, theme="light", touch=False):
        return Page(self, url, width, height, theme, touch)


class Page:
    def __init__(self, browser, url, width, height, theme, touch):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height, touch)
        self.theme(theme)
        self.call("Page.navigate", url=url)
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'")

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def resize(self, width, height, touch=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch)

    def theme(self, theme):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def eval(self, expression):
        """Of JavaScript; awaits a promise."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, (expression, done)
        return done["result"].get("value")

    def wait(self, expression, deadline_s=DEADLINE_S):
        """Until it is true, as JavaScript has it."""
        end = time.monotonic() + deadline_s
        while not self.eval(f"Boolean({expression})"):
            assert (
                time.monotonic() < end
            ), f"not within {deadline_s} s: {expression}; it says {self.eval('document.body.innerText')}"
            time.sleep(0.05)

    def key(self, name):
        code, text = KEYS[name] if name in KEYS else (ord(name.upper()), name)
        more = {"text": text} if text else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=name, windowsVirtualKeyCode=code, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name, windowsVirtualKeyCode=code)

    def type(self, text):
        for letter in text:
            self.key(letter)

    def events(self, method):
        with self.browser.news:
            return [
                one["params"] for one in self.browser.events if one.get("sessionId") == self.session and one["method"] == method
            ]

    def complaints(self):
        """What the console shows in red, and what was thrown."""
        logged = [one["entry"] for one in self.events("Log.entryAdded") if one["entry"]["level"] in ("error", "warning")]
        said = [one for one in self.events("Runtime.consoleAPICalled") if one["type"] in ("error", "warning", "assert")]
        return logged + said + self.events("Runtime.exceptionThrown")

    def requested(self):
        """URLs of all requests that left the page, or were kept from it."""
        return [one["request"]["url"] for one in self.events("Network.requestWillBeSent")]

    def screenshot(self, path, whole=False):
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self.clip(whole))
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def clip(self, whole):
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}
