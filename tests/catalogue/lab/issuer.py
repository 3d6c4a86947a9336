"""A definition whose issuer of tokens is a double: the shipped one, but for the address that tokens are asked of."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from proxyd.catalog.shelf import SHIPPED


def asking(name: str, port: int, folder: Path) -> str:
    """Write the definition ``name`` into ``folder``, its issuer at ``localhost:port``; return the path."""
    document: dict[str, Any] = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
    changed = 0
    for scheme in document["schemes"]:
        token = scheme.get("token")
        url = token.get("url", "").replace("{base_url}", "https://localhost") if token is not None else ""
        if url.startswith("https://"):
            token["url"] = f"https://localhost:{port}{urlsplit(url).path}"
            token["hosts"] = ["localhost"]
            changed += 1
    assert changed, f"{name} asks no issuer at an address of its own"
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)
