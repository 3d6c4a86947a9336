"""Speaks to proxyd's admin socket with the package msgpack alone: python admin_socket.py SOCKET."""

import socket
import sys
from collections import deque

import msgpack


class Client:
    """One connection: calls, and notifications of what was subscribed to."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.unpacker = msgpack.Unpacker()
        self.notifications = deque()
        self.number = 0

    def call(self, method, **params):
        """Return the result of one call; RuntimeError says why there is none."""
        self.number += 1
        self.socket.sendall(msgpack.packb([0, self.number, method, [params] if params else []]))
        while True:
            message = self.receive()
            if message[0] == 2:  # a notification came first
                self.notifications.append(message[1:])
                continue
            _, _, error, result = message
            if error is not None:
                raise RuntimeError(f"{method}: {error['message']}")
            return result

    def next_notification(self):
        """Wait for the next notification and return its method and params."""
        while not self.notifications:
            self.notifications.append(self.receive()[1:])
        return self.notifications.popleft()

    def receive(self):
        """Return the next message."""
        while True:
            for message in self.unpacker:
                return message
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the daemon closed the connection")
            self.unpacker.feed(data)


client = Client(sys.argv[1])
hello = client.call("hello")
print(f"{hello['name']} {hello['version']}, protocol {hello['protocol']}, our role: {hello['role']}")
for service in client.call("services"):
    print(f"{service['name']}: {service['requests']} requests, {service['errors']} errors")
for exchange in client.call("exchanges", status="4xx", limit=5):
    print(f"refused or not found: {exchange['method']} {exchange['authority']}{exchange['path']}")

client.call("subscribe", kinds=["exchange"], errors=True)
while True:
    method, (subscription, told) = client.next_notification()
    if method == "exchange":
        print(f"error: {told['status']} {told['flags']} {told['authority']}{told['path']}", flush=True)
    elif method == "dropped":
        print(f"{told} notifications were dropped: we are too slow", flush=True)
