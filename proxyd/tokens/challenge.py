"""Tokens for a scope: a registry's challenge leads to a token service, which takes the user's Basic credential.

https://distribution.github.io/distribution/spec/auth/token/
"""

from base64 import b64encode
from typing import Final
from urllib.parse import urlencode

from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Ask, Issued, bearer, checked, seconds_of

FLOW: Final = "challenge"
"""Names that there is no token but those for a scope."""

_DEFAULT_LIFE: Final = 60.0
"""Seconds of a token whose answer does not say: as the specification has it."""


async def scoped(ask: Ask, realm: str, service: str, scope: str) -> Issued:
    """Return a token for what a challenge named. TokenError: the realm is not the source's, or refuses."""
    user, password = ask.named("user"), ask.text("token")
    if ":" in user:
        raise TokenError("the user holds a colon, which Basic cannot carry (RFC 7617 §2)", is_final=True)
    parts = [("service", service), *(("scope", one) for one in scope.split()), ("client_id", "proxyd")]
    url = (
        realm.partition("#")[0]
        + ("&" if "?" in realm else "?")
        + urlencode([(name, value) for name, value in parts if value])
    )
    basic = b64encode(f"{user}:{password}".encode()).decode("ascii")
    answer = await ask.client.ask(url, ask.source.realms, method="GET", headers={"authorization": f"Basic {basic}"})
    said = checked(answer)
    issued = bearer(said, name="token" if said.get("token") else "access_token")
    life = seconds_of(said["expires_in"]) if said.get("expires_in") else _DEFAULT_LIFE
    return Issued(issued.values, life)
