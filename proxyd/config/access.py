"""The sections that say who may call what."""

from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from proxyd.core.service import HostPattern
from proxyd.reading import addresses, names
from proxyd.reading.readers import Several, Text
from proxyd.reading.sections import Section
from proxyd.reading.values import Cidr, Id, UserName


class RuleConditions(Section):
    """Conditions that must all hold; each key takes one value or a list, of which one must fit."""

    services: Annotated[
        list[Annotated[str, Text(names.service_reference, "service")]], Several(), Field(min_length=1)
    ] = []
    """Services that the rule judges; `*` is every service."""
    hosts: Annotated[
        list[Annotated[HostPattern, Text(addresses.rule_host, "host")]], Several(), Field(min_length=1)
    ] = []
    """Hosts that are no service; `*` is every host, a host without a port covers every port."""
    methods: Annotated[list[Annotated[str, Text(names.method, "method")]], Several(), Field(min_length=1)] = []
    """Methods, exactly as they are sent."""
    paths: Annotated[list[Annotated[str, Text(addresses.url_path, "path")]], Several(), Field(min_length=1)] = []
    """Prefixes of the upstream path, by whole segments."""
    uid: Annotated[list[Id], Several(), Field(min_length=1, validation_alias=AliasChoices("uid", "uids"))] = []
    """User ids of callers on this machine."""
    gid: Annotated[list[Id], Several(), Field(min_length=1, validation_alias=AliasChoices("gid", "gids"))] = []
    """Group ids of callers on this machine."""
    user: Annotated[list[UserName], Several(), Field(min_length=1, validation_alias=AliasChoices("user", "users"))] = []
    """Users that passed proxy authentication."""
    cidr: Annotated[list[Cidr], Several(), Field(min_length=1, validation_alias=AliasChoices("cidr", "cidrs"))] = []
    """Ranges that the caller's address is in."""


class RuleSection(Section):
    """One rule: exactly one of `allow` and `deny`. The first rule whose conditions hold decides."""

    allow: RuleConditions | None = None
    """Let pass what fits."""
    deny: RuleConditions | None = None
    """Refuse what fits (403)."""


class AccessSection(Section):
    """Who may call what."""

    default: Literal["allow", "deny"] = "deny"
    """What happens when no rule fits."""
    rules: list[RuleSection] = []
    """Rules in the order of their judgement."""
