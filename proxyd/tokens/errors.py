"""Why a token could not be had."""


class TokenError(Exception):
    """The words are for an operator and hold no secret."""

    def __init__(self, why: str, *, is_final: bool = False) -> None:
        """``is_final``: asking again with the same credential is of no use."""
        super().__init__(why)
        self.is_final = is_final
