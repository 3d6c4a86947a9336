"""What a search for credentials finds: services to propose, and what cannot be used yet. Names only, never a value."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Source:
    """Where one secret comes from: a variable, a file, or a program and its arguments."""

    secret: str
    """Its name in the configuration."""
    env: str = ""
    file: str = ""
    file_variable: str = ""
    """The variable that named the file."""
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """One service that can be configured as things are."""

    service: str
    """Its name in the configuration."""
    found: str
    """Where its credential was found, for a person."""
    hosts: tuple[str, ...]
    """Those that it claims."""
    base_url: str
    auth: str
    """The ``auth`` map in YAML's flow form; empty where ``use`` says it."""
    sources: tuple[Source, ...]
    encoded_slash: bool = False
    note: str = ""
    """A sentence for whoever reads the file."""
    use: str = ""
    """The definition of the catalogue; hosts and the like are written only where they are not its own."""
    secret: str = ""
    """The value of ``secret`` in YAML's flow form."""
    options: tuple[tuple[str, str], ...] = ()
    own_hosts: bool = False
    """The hosts are the user's."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something found that is not proposed."""

    found: str
    why: str
    """Why not, and what to do."""


@dataclass(slots=True)
class Findings:
    """The whole of a search."""

    proposals: list[Proposal] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Variables whose names look like a credential's, and that no service here is known for."""

    def propose(self, proposal: Proposal) -> None:
        """Add ``proposal``, or a remark where one of its hosts or its name belongs to an earlier one."""
        taken = {host: other for other in self.proposals for host in other.hosts}
        for host in proposal.hosts:
            if host in taken:
                why = f"{host} belongs to the service {taken[host].service} already, and a host belongs to one service"
                self.remarks.append(Remark(proposal.found, why))
                return
        if any(other.service == proposal.service for other in self.proposals):
            self.remarks.append(Remark(proposal.found, f"a service {proposal.service} is proposed already"))
            return
        self.proposals.append(proposal)

    def settle(self) -> None:
        """Drop remarks on variables that a proposal uses after all: a file said where they belong."""
        sources = [source for proposal in self.proposals for source in proposal.sources]
        used = {name for source in sources for name in (source.env, source.file_variable) if name}
        self.remarks = [remark for remark in self.remarks if remark.found not in used]
