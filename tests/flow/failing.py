"""Lives of a whole node in which one thing fails once: start, ingest, read, commit, stop; how each ended, and whether the next is exact."""

import collections
import http.client
import os
import subprocess
import time

import crash
from clients import system_tool

LOOK_EVERY = 8  # so many lives, then it is looked at without a fault
APPLY_S, STOP_S, ANSWER_S = 10, 25, 20
EVENTS = 30
ENDS = {0: "went on", 1: "ended with a message", -6: "aborted by a library", -11: "crashed in a library"}
OWN_ENDS = (0, 1)


class Lives(crash.Lives):
    """Those that meet a fault speak TLS, so that OpenSSL and nghttp2 have their part."""

    def __init__(self, authority, library, *more):
        super().__init__(*more)
        self.authority, self.library = authority, library
        certificate, key = authority.sign("node", "IP:127.0.0.1")
        self.tls = (f"server.tls.certificate={certificate}", f"server.tls.key={key}")

    def live(self, **fault):
        """One life; its exit code."""
        node = self.node
        self.send(EVENTS)
        node.environment = {"LD_PRELOAD": str(self.library), **fault}
        node.spawn(*self.tls)
        line = node.process.stdout.readline()
        went_well = True
        if line:
            node.first_line(line[max(0, line.find(b"{")) :])  # SASL's plugin says on stdout that it has no memory
            went_well = self.use()
        code = node.stop(STOP_S)
        node.environment = {}
        assert went_well, f"{fault}: it stands still and says nothing: {node.log()}"
        return code

    def use(self):
        """Takes what is new, reads it and commits it, as far as that goes; false when nothing was told although it did not go on."""
        node, end = self.node, time.monotonic() + APPLY_S
        try:
            while node.applied() < len(self.events) and time.monotonic() < end and node.process.poll() is None:
                time.sleep(0.01)
            if node.applied() < len(self.events) and not is_told(node.log()) and node.page("/readyz")[0] == 200:
                return False
            self.ask("FeatureService/GetFeatures", '{"userId": "1", "itemIds": ["1", "2", "3"]}')
            self.ask("AdminService/Digest", "{}")
            node.page("/metrics")
        except (TimeoutError, subprocess.TimeoutExpired):
            return False  # a client that waits and waits was told nothing
        except (subprocess.CalledProcessError, OSError, http.client.HTTPException, AssertionError, ValueError):
            pass  # what is refused or cut off is told
        return True

    def ask(self, method, body):
        """By HTTP/2; what is refused or cut off is an error."""
        command = [system_tool("curl", "curl"), "-sSf", "--http2", "--cacert", self.authority.pem]
        options = ["-H", "content-type: application/json", "-d", body, f"https://{self.node.api}/freshet.v1.{method}"]
        subprocess.run([*map(str, command), *options], capture_output=True, check=True, timeout=ANSWER_S)

    def fail_each(self, faults, allowed):
        """A life for each of the faults, which are environments by name."""
        ends, complaints = collections.Counter(), []
        for done, (name, fault) in enumerate(faults.items()):
            code = None
            try:
                code = self.live(**fault)
                if not is_met(self.node.log()):
                    crash.empty(self.node)  # whoever makes a store and reads all from the beginning does more
                    code = self.live(**fault)
                end, said = how_it_ended(code, self.node.log())
                said = said or (None if code in allowed else f"exit {code}: {self.node.log()[-1500:]}")
            except AssertionError as error:
                end, said = "hangs", str(error)
            ends[end] += 1
            if code is not None and code < 0:
                print(f"{name}: {end}", flush=True)
            if said:
                complaints.append(f"{name}: {said}")
                print(complaints[-1], flush=True)
            if done % LOOK_EVERY == LOOK_EVERY - 1:
                self.check()
        self.check(is_thorough=True)
        print(f"{len(faults)} failed: {dict(ends)}; {self.told()}; 0 mismatches", flush=True)
        assert not complaints, "\n".join([f"{len(complaints)} of {len(faults)}", *complaints[:5]])


def is_shims(line):
    return line.startswith(("memory: ", "calls: ")) and " fails" in line


def is_met(log):
    return any(is_shims(line) for line in log.splitlines())


def is_told(log):
    """Whether the node said something about it: what the shim says and the audit's lines are no such thing."""
    return any(not is_shims(line) and " info " not in line for line in log.splitlines())


def how_it_ended(code, log):
    """In a word, and what is wrong about it, if anything."""
    if not is_met(log):
        return "not met", None if code == 0 else f"exit {code}: {log[-1500:]}"
    if code not in ENDS:
        return f"exit {code}", f"exit {code}: {log[-1500:]}"
    if code == 1 and not is_told(log):
        return "exit 1", "exit 1 and not a word"
    return f"{ENDS[code]}, told" if code == 0 and is_told(log) else ENDS[code], None


def spread(names, lives):
    """So many of them, evenly: each run of CI the same."""
    names = list(names)
    step = max(1, len(names) // lives)
    return names[step // 2 :: step][:lives]


def share(names):
    """Those that this process is to do: FRESHET_SHARE=K/N is every N-th from the K-th on."""
    first, every = (int(number) for number in os.environ.get("FRESHET_SHARE", "1/1").split("/"))
    return dict(list(names.items())[first - 1 :: every])
