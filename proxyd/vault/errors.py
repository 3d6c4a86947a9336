"""What can be wrong with the vault; every text says where and what to do, none holds a value."""


class VaultError(Exception):
    """The vault cannot be used, or refuses what is asked of it."""


class WrongKey(VaultError):
    """No key that is at hand opens the vault."""


class NoSuchSecret(VaultError):
    """The vault holds no secret of this name."""

    def __init__(self, name: str, hint: str = "") -> None:
        text = f"the vault holds no secret {name}"
        if hint:
            text += f" (did you mean {hint}?)"
        super().__init__(f"{text}; store it with: proxyd secret set {name}")
