"""A thread that answers on a Unix socket as the daemon does."""

import socket
import threading

import msgpack


class FakeDaemon:
    """Answers every call with what ``answers`` holds: a result, or an ``Exception`` around the error."""

    def __init__(self, path, answers):
        self.path = path
        self.answers = answers
        self.calls = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection):
        unpacker = msgpack.Unpacker()
        while data := connection.recv(4096):
            unpacker.feed(data)
            for kind, number, method, params in unpacker:
                assert kind == 0
                self.calls.append((method, params))
                answer = self.answers.get(method, Exception({"code": "unknown_method", "message": "no such method"}))
                if isinstance(answer, bytes):
                    connection.sendall(answer)
                elif isinstance(answer, Exception):
                    connection.sendall(msgpack.packb([1, number, answer.args[0], None]))
                else:
                    connection.sendall(msgpack.packb([1, number, None, answer]))
