"""The definition of a service: what its vendor's documentation says, as one YAML file of the catalogue."""

from typing import Annotated, Final, Literal

from pydantic import Field

from proxyd.catalog.behaviour import (
    Answers,
    DeprecationSection,
    EnvironmentSection,
    ErrorsSection,
    FileSection,
    IdempotencyHint,
    LimitsSection,
    PaginationSection,
    ProbeSection,
    ProofSection,
    RetryHint,
    VersionSection,
    WebhookSection,
)
from proxyd.catalog.credentials import (
    AnyHost,
    FieldSection,
    RefusedSection,
    SchemeSection,
    StripSection,
)
from proxyd.catalog.hosts import UrlTemplate
from proxyd.reading.schema import Form
from proxyd.reading.sections import Section
from proxyd.reading.values import FieldName, Name


class YourHosts(Section):
    """Hosts that only the user can name: a label of a shared suffix, or a server of their own."""

    suffixes: list[AnyHost] = []
    """Below these, customers choose labels: the full host is needed, and a wildcard is refused."""
    self_hosted: bool = False
    """It may be any host."""
    required: bool = False
    """`hosts` must stand in the service, although the vendor has some of its own."""
    example: str = ""
    """Such a host."""
    base_path: str = ""
    """Path of the API there."""
    about: str = ""
    """Where the user finds it."""


class Definition(Section):
    """A service of the catalogue."""

    name: Name
    """What `use` says; the file has the same name."""
    title: str
    """What the vendor calls it."""
    category: Literal["cloud", "monitoring", "development", "other"]
    """Where it stands in the list."""
    about: str = ""
    """What of the vendor this covers."""
    hosts: list[AnyHost] = []
    """The vendor's own hosts; the credential may go there."""
    vary: dict[FieldName, list[str]] = {}
    """Lists of values: a host that names one in braces stands for one host of each value."""
    your_hosts: YourHosts | None = None
    """Hosts that the user names."""
    base_url: Annotated[str, UrlTemplate()] | None = None
    """Scheme, host and path of the API. Without it: https and the first host."""
    encoded_slash: bool = False
    """`%2F` within a path segment is legitimate."""
    fields: dict[FieldName, FieldSection]
    """All secrets and options that the schemes name."""
    schemes: Annotated[list[SchemeSection], Field(min_length=1)]
    """In order of preference; chosen by the fields that the user gives."""
    refused: list[RefusedSection] = []
    """What the vendor has ended."""
    strip: StripSection = StripSection()
    """What is removed from requests that get the credential."""
    version: VersionSection | None = None
    """The version of the API that is asked for."""
    limits: LimitsSection = LimitsSection()
    """How it says that a limit is reached."""
    answers: Answers = Answers()
    """Examples of its answers, which injected faults give."""
    retry: RetryHint = RetryHint()
    """Statuses worth a retry."""
    idempotency: IdempotencyHint | None = None
    """Idempotency keys, where the vendor has them."""
    errors: ErrorsSection | None = None
    """The form of its errors."""
    pagination: PaginationSection | None = None
    """How it pages."""
    deprecation: DeprecationSection = DeprecationSection()
    """How it announces the end of an endpoint."""
    probe: ProbeSection
    """What `proxyd test` asks."""
    status_page: str = ""
    """Where the vendor says how it is."""
    webhooks: WebhookSection | None = None
    """How it signs what it sends."""
    environment: EnvironmentSection = EnvironmentSection()
    """Variables of its tools."""
    files: list[FileSection] = []
    """Files of its tools."""
    documentation: Annotated[list[str], Field(min_length=1)]
    """Where these facts are from."""
    proof: ProofSection = ProofSection()
    """How it is proved."""


FORM: Final = Form(Definition, "proxyd service definition")
