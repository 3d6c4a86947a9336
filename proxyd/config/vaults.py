"""The section of vaults elsewhere, what one value of it does not show, and what it means."""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from proxyd.config.roots import read_roots
from proxyd.core.settings import HASHICORP, Reference, VaultLogin, VaultSource
from proxyd.core.units import DAY
from proxyd.reading import names
from proxyd.reading.addresses import base_url
from proxyd.reading.problems import Mistake, Trail, describe
from proxyd.reading.readers import Seconds, Several, Text, Whole
from proxyd.reading.sections import Section
from proxyd.reading.tree import Tree
from proxyd.reading.values import FilePath, Name, SecretName
from proxyd.reading.views import child, entries, table

SERVICE_ACCOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"
"""Where kubelet puts a pod's own token."""
LOCAL: Final = ("localhost", "127.0.0.1", "::1")
KEYS_OF: Final = {"role_id": ("approle",), "role": ("kubernetes", "jwt"), "token_file": ("kubernetes", "jwt")}
"""Methods that a key of ``auth`` is for."""
LOGIN_SOURCES: Final = ("env", "file", "command", "vault")

_CIRCLE: Final = "proxyd logs in by this secret, and it would come from a vault elsewhere itself"
_PATH: Final = re.compile(r"[A-Za-z0-9._~@:+=,-]+(/[A-Za-z0-9._~@:+=,-]+)*")
_PATH_PATTERN: Final = rf"^{_PATH.pattern}$"
_NAMESPACE: Final = re.compile(r"[!-~]{1,512}")
_MAX_PATH: Final = 512


def vault_path(value: object) -> str:
    """Read a path in a vault."""
    text = names.plain_text(value)
    if len(text) > _MAX_PATH or not _PATH.fullmatch(text.strip("/")) or ".." in text.split("/"):
        raise Mistake("not a path", "segments with '/' between them, such as apps/github")
    return text.strip("/")


def vault_address(value: object) -> str:
    """Read a vault's address."""
    base = base_url(value)
    if base.scheme != "https" and base.host not in LOCAL:
        raise Mistake("the login would travel in clear", "https://…; http is for this machine alone")
    host = f"[{base.host}]" if ":" in base.host else base.host
    return f"{base.scheme}://{host}:{base.port}{base.path}"


def _namespace(value: object) -> str:
    text = names.plain_text(value)
    if not _NAMESPACE.fullmatch(text):
        raise Mistake("not a namespace", "a path such as team-a/ci, in ASCII")
    return text


VaultPath = Annotated[str, Text(vault_path, "path", _PATH_PATTERN)]


class VaultLoginSection(Section):
    """How proxyd logs in. The login's token is renewed, and had anew when that is not possible."""

    method: Literal["token", "approle", "kubernetes", "jwt"] = "token"
    """`token` uses a token as it is; the others log in."""
    secret: SecretName = ""
    """Name of the secret: the token, AppRole's secret id, or a JWT; not from a vault elsewhere itself."""
    role_id: Annotated[str, Text(names.plain_text, "text")] = ""
    """AppRole's role id."""
    role: Annotated[str, Text(names.plain_text, "text")] = ""
    """Role of the methods `kubernetes` and `jwt`."""
    token_file: FilePath = ""
    """File with the JWT, read at every login. For `kubernetes` the pod's own token where nothing is said."""
    mount: VaultPath = ""
    """Where the method is mounted, below `auth/`. Without it: the method's name."""


class OutsideVaultSection(Section):
    """A vault elsewhere. Secrets name it with `from`."""

    kind: Annotated[str, Text(names.plugin, "plugin")] = HASHICORP
    """`hashicorp` for HashiCorp Vault and OpenBao, or a plugin: an installed one by its name, or `module:name`."""
    address: Annotated[list[Annotated[str, Text(vault_address, "url")]], Several(), Field(max_length=16)] = []
    """Such as `https://vault.example:8200`; several for a cluster. Redirects to others are not followed."""
    namespace: Annotated[str, Text(_namespace, "namespace")] = ""
    """The namespace (Vault Enterprise, HCP, OpenBao)."""
    auth: VaultLoginSection = VaultLoginSection()
    """How proxyd logs in."""
    mount: VaultPath = "secret"
    """Where the key-value engine is mounted; a secret may say otherwise."""
    kv: Annotated[int, Whole(1, 2)] = 2
    """Version of the key-value engine."""
    poll: Annotated[float, Seconds(1.0, 30 * DAY)] = 60.0
    """How soon a change there is noticed, for what has no lease."""
    roots: FilePath = ""
    """PEM file of certificates that are trusted besides the system's; relative to the configuration file."""
    options: dict[Name, Any] = {}
    """Options of a plugin."""


def check_vaults(tree: Tree, folder: Path) -> None:
    """Report every mistake in vaults and in the secrets that come from them to ``tree.problems``."""
    vaults = table(tree.value, "vaults")
    for trail, _, vault in entries(vaults, ("vaults",)):
        if vault.get("kind", HASHICORP) == HASHICORP:
            _check_hashicorp(tree, trail, vault, folder)
        else:
            _check_plugin(tree, trail, vault)
    for trail, _, secret in entries(child(tree.value, "secrets"), ("secrets",)):
        _check_reference(tree, trail, secret, vaults)


def _check_hashicorp(tree: Tree, trail: Trail, vault: dict[str, Any], folder: Path) -> None:
    if not vault.get("address"):
        tree.add((*trail, "address"), describe("the key is missing", "such as https://vault.example:8200"))
    if "options" in vault:
        tree.add((*trail, "options"), "options are for plugins", at_key=True)
    roots = vault.get("roots")
    if isinstance(roots, str) and roots:
        try:
            read_roots(folder / roots)
        except Mistake as mistake:
            tree.add((*trail, "roots"), str(mistake))
    login = table(vault, "auth")
    where = (*trail, "auth")
    method = login.get("method", "token")
    needed = {"token": ("secret",), "approle": ("role_id",), "kubernetes": ("role",), "jwt": ()}
    for key in needed.get(method if isinstance(method, str) else "", ()):
        if key not in login:
            tree.add((*where, key), describe(f"the method {method} needs {key}"))
    for key, methods in (
        ("role_id", ("approle",)),
        ("role", ("kubernetes", "jwt")),
        ("token_file", ("kubernetes", "jwt")),
    ):
        if key in login and method not in methods:
            tree.add((*where, key), f"{key} is for {' and '.join(methods)}", at_key=True)
    if method == "jwt" and "secret" not in login and "token_file" not in login:
        tree.add(where, describe("no JWT is named", "secret or token_file"))
    if "secret" in login and "token_file" in login:
        tree.add((*where, "token_file"), "secret and token_file are given; name the JWT once", at_key=True)
    named = login.get("secret")
    if "from" in table(tree.value, "secrets", named) if isinstance(named, str) else False:
        tree.add((*where, "secret"), describe(_CIRCLE, f"one from {', '.join(LOGIN_SOURCES)}"))


def _check_plugin(tree: Tree, trail: Trail, vault: dict[str, Any]) -> None:
    for key in ("address", "namespace", "auth", "mount", "kv", "roots"):
        if key in vault:
            tree.add((*trail, key), f"{key} is for kind {HASHICORP}; a plugin has its own under options", at_key=True)
    from proxyd.sdk.loader import LoadError, load_vault  # with trio and more: only for files that name a plugin
    from proxyd.sdk.options import OptionsError, read_options, secret_places

    try:
        options = read_options(load_vault(str(vault["kind"])).options_type, table(vault, "options"))
    except LoadError as error:
        tree.add((*trail, "kind"), str(error))
        return
    except OptionsError as error:
        for mistake in error.mistakes:
            tree.add((*trail, "options", *mistake.trail), mistake.message, at_key=True)
        return
    declared = table(tree.value, "secrets")
    for place, name in secret_places(options):
        if name not in declared:
            message = "no secret of this name stands under secrets"
            tree.add((*trail, "options", *place), describe(message, "", tree.nearest(name, declared)))
        elif "from" in table(declared, str(name)):
            tree.add((*trail, "options", *place), f"{_CIRCLE}; expected one from {', '.join(LOGIN_SOURCES)}")


def _check_reference(tree: Tree, trail: Trail, secret: dict[str, Any], vaults: dict[str, Any]) -> None:
    name = secret.get("from")
    if name is None:
        for key in ("path", "field", "mount", "version", "lease"):
            if key in secret:
                tree.add((*trail, key), f"{key} is for secrets from a vault elsewhere (from: NAME)", at_key=True)
        return
    if isinstance(name, str) and name not in vaults:
        message = describe("no vault of this name stands under vaults", "", tree.nearest(name, vaults))
        tree.add((*trail, "from"), message)
    if ("path" in secret) == ("lease" in secret):
        found = "both are given" if "path" in secret else "neither is given"
        tree.add(trail, describe(found, "path for a stored secret, lease for one that is made when it is asked for"))
    if "lease" in secret:
        for key in ("mount", "version"):
            if key in secret:
                tree.add((*trail, key), f"{key} is for stored secrets; lease is the whole path", at_key=True)
    vault = vaults.get(name) if isinstance(name, str) else None
    if "version" in secret and table(vault).get("kv") == 1:
        tree.add((*trail, "version"), "the engine has no versions (kv: 1)", at_key=True)
    if "lease" in secret and table(vault).get("kind", HASHICORP) != HASHICORP:
        tree.add((*trail, "lease"), "plugins know path alone", at_key=True)


def vault_source(name: str, section: OutsideVaultSection, folder: Path, line: int) -> VaultSource:
    """Return what a checked section says."""
    login = section.auth
    token_file = login.token_file or (SERVICE_ACCOUNT if login.method == "kubernetes" and not login.secret else "")
    return VaultSource(
        name=name,
        kind=section.kind,
        addresses=tuple(section.address),
        namespace=section.namespace,
        mount=section.mount,
        kv=section.kv,
        poll=section.poll,
        login=VaultLogin(
            method=login.method,
            mount=login.mount,
            secret=login.secret,
            role_id=login.role_id,
            role=login.role,
            token_file=str(folder / token_file) if token_file else "",
        ),
        roots_pem=read_roots(folder / section.roots).decode("ascii") if section.roots else "",
        options=section.options,
        secrets=_login_secrets(section),
        line=line,
    )


def _login_secrets(section: OutsideVaultSection) -> tuple[str, ...]:
    if section.kind == HASHICORP:
        return (section.auth.secret,) if section.auth.secret else ()
    from proxyd.sdk.loader import load_vault
    from proxyd.sdk.options import read_options, secret_names

    return tuple(sorted(secret_names(read_options(load_vault(section.kind).options_type, section.options))))


def reference(vault: str, path: str, lease: str, **more: Any) -> Reference | None:
    """Return the reference of a checked secret; None: it comes from elsewhere."""
    return Reference(vault, path or lease, is_lease=bool(lease), **more) if vault else None
