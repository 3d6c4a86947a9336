"""Every definition that is shipped: right by itself, usable in every scheme, and no wider than it may be."""

import re
import shutil
from pathlib import Path

import pytest

from proxyd.auth.registry import SCHEMES
from proxyd.auth.registry import compile as compile_auth
from proxyd.catalog.auth import SIGNING
from proxyd.catalog.load import load
from proxyd.catalog.shared import shared_suffix
from proxyd.catalog.shelf import SHIPPED
from proxyd.config.load import load_text
from proxyd.reading.addresses import host_pattern
from proxyd.reading.problems import ConfigError

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
LISTENERS = "listeners: [{name: apps, mode: forward, address: 127.0.0.1:3128}]\n"


def definition_of(name):
    return load(SHIPPED / f"{name}.yaml")


def sample(field):
    """Return a value that the option's pattern fits."""
    candidates = [field.default, "a", "eu", "us-east-1", "eu-central-1", "12345", "example.com", "acme", "A1B2C3D4"]
    candidates += ["0123456789abcdef0123456789abcdef", "00000000-0000-0000-0000-000000000000", "me@example.com", "us1"]
    candidates += ["ocid1.tenancy.oc1..a", "ocid1.user.oc1..a", ":".join(["0a"] * 16), "eu-frankfurt-1", "cn-hangzhou"]
    candidates += ["dt0s02.CLIENT", "urn:dtaccount:00000000-0000-0000-0000-000000000000"]
    candidates += ["arn:aws:iam::123456789012:role/lab", "http://169.254.170.2/v2/credentials"]
    candidates += [*field.pattern.replace("\\", "").strip("()?:").split("|")]
    return next(one for one in candidates if one and (not field.pattern or re.fullmatch(field.pattern, one)))


def hosts_of(definition, scheme):
    """Return hosts that a user would write, none where the vendor's own do."""
    yours = definition.your_hosts
    if yours is None or (definition.hosts and not yours.required and not scheme.own_host):
        return []
    suffix = yours.suffixes[0].removeprefix("*.") if yours.suffixes else ""
    return [f"acme.{suffix}" if suffix else yours.example or "own.example"]


SCHEMES_OF = [(name, scheme.name) for name in NAMES for scheme in definition_of(name).schemes]


def used(name, scheme_name):
    """Return the settings of a configuration that uses a scheme with all of its fields."""
    definition = definition_of(name)
    scheme = next(one for one in definition.schemes if one.name == scheme_name)
    wanted = [*scheme.fields, *scheme.optional]
    secrets = [field for field in wanted if definition.fields[field].secret]
    options = {key: field for key, field in definition.fields.items() if not field.secret}
    lines = [f"  own: {{use: {name}, scheme: {scheme_name}, insecure: true,"]
    if secrets:
        lines.append("    secret: {" + ", ".join(f"{field}: s/{field.replace('_', '-')}" for field in secrets) + "},")
    if options:
        texts = (f"{key}: '{sample(field)}'" for key, field in options.items())
        lines.append("    options: {" + ", ".join(texts) + "},")
    hosts = hosts_of(definition, scheme)
    lines.append(f"    hosts: [{', '.join(hosts)}]}}" if hosts else "    }")
    text = LISTENERS + "services:\n" + "\n".join(lines) + "\n"
    return load_text(text, "f.yaml", ROOT, Path("/state"), Path("/run"))


@pytest.mark.parametrize("name", NAMES)
def test_the_definition_is_right(name, tmp_path):
    copy = shutil.copy(SHIPPED / f"{name}.yaml", tmp_path)
    definition = load(Path(copy))  # where it is shipped, it is taken to be right
    assert definition.probe.path
    assert definition.documentation


@pytest.mark.parametrize(("name", "scheme"), SCHEMES_OF)
def test_a_secret_alone_is_used_or_said_to_be_wrong(name, scheme):
    text = f"{LISTENERS}services:\n  own: {{use: {name}, scheme: {scheme}, secret: alone}}\n"
    try:
        (service,) = load_text(text, "f.yaml", ROOT, Path("/state"), Path("/run")).services
    except ConfigError:
        return  # tests/config/test_uses.py reads the words
    assert service.auths


@pytest.mark.parametrize("name", NAMES)
def test_no_label_that_another_customer_can_choose_is_in_its_scope(name):
    for settings in {scheme: used(name, scheme) for of, scheme in SCHEMES_OF if of == name}.values():
        (service,) = settings.services
        if all(auth.scheme in SIGNING for auth in service.auths):
            continue  # a signature is for one request to one host, and tells nobody the key
        for pattern in service.hosts:
            assert not shared_suffix(pattern), pattern


@pytest.mark.parametrize("name", NAMES)
def test_where_customers_choose_labels_a_wildcard_is_refused(name):
    yours = definition_of(name).your_hosts
    for suffix in yours.suffixes if yours is not None else ():
        assert host_pattern(suffix).wildcard, "a suffix is written with a wildcard"


@pytest.mark.parametrize(("name", "scheme"), SCHEMES_OF)
def test_every_scheme_can_be_used(name, scheme):
    settings = used(name, scheme)
    (service,) = settings.services
    assert service.auths
    for auth in service.auths:
        assert auth.scheme in SCHEMES
        injector = compile_auth(auth)
        made = {source.name for source in settings.tokens}
        for secret in auth.secret_names:
            assert secret.startswith("s/") or secret.rpartition("/")[0] in made or secret in made
        assert injector.secret_names or auth.secrets == ()
    for source in settings.tokens:
        assert "{" not in source.url
        assert source.hosts or not source.url or "//" not in source.url


@pytest.mark.parametrize("name", NAMES)
def test_public_registries_are_not_written_out(name):
    text = (SHIPPED / f"{name}.yaml").read_text()
    registries = [("registry", "npmjs.org"), ("pypi", "org"), ("upload", "pypi.org"), ("files", "pythonhosted.org")]
    for parts in registries:
        assert not re.search(rf"(?<![\w.-]){re.escape('.'.join(parts))}(?![\w-])", text)


@pytest.mark.parametrize("name", NAMES)
def test_keys_of_files_are_fields_that_make_up_a_scheme(name):
    definition = definition_of(name)
    for file in definition.files:
        if file.keys:
            assert file.reader in ("ini", "yaml")
            assert any(set(scheme.fields) == set(file.keys) for scheme in definition.schemes)
            assert file.reader == "yaml" or all(len(keys) == 2 for keys in file.keys.values())
