"""Stands in for ``proxyd run`` where a test is about whoever starts it: ``MODE`` says how it behaves."""

import os
import signal
import socket
import sys
import threading
from pathlib import Path

from tests.cli.daemon import FakeDaemon

mode = os.environ.get("MODE", "")
words = sys.argv[1:]
print("words:", *words, flush=True)
if mode == "fail":
    print("proxyd: f.yaml:1:1: unknown key", file=sys.stderr)
    sys.exit(2)
if mode == "hang":
    signal.pause()
folder = Path(words[words.index("--state-dir") + 1])
bundle = folder / "ca-bundle.pem"
answer = {"proxy": "http://127.0.0.1:1", "ca_bundle": str(bundle), "secret_variables": ["TOKEN"]}
ended = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: ended.set())
with FakeDaemon(words[words.index("--admin") + 1], {"environment": answer}):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"STATUS=starting", os.environ["NOTIFY_SOCKET"])
        notify.sendto(b"READY=1\nSTATUS=serving", os.environ["NOTIFY_SOCKET"])
    if mode != "die":
        while not ended.wait(0.02):
            pass
(folder / "ended").write_text("in order")
