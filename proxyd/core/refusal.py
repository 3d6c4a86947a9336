"""A call to the daemon that cannot be done, in words for whoever made it."""


class Refusal(Exception):
    """What was asked for is not possible: ``code`` is for programs, ``message`` for people.

    ``nearest`` is the name that was probably meant, where one was unknown.
    """

    def __init__(self, code: str, message: str, nearest: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.nearest = nearest
