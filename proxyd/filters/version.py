"""The version of a vendor's API that is asked for where the client asks for none."""

from proxyd.core.exchange import Exchange
from proxyd.core.headers import first
from proxyd.core.query import parameter_names
from proxyd.core.route import Filter
from proxyd.core.service import PinnedVersion


class VersionFilter(Filter):
    """Adds a field or a query parameter that is not there."""

    def __init__(self, version: PinnedVersion) -> None:
        self._name = version.name.encode("utf-8")
        self._value = version.value.encode("utf-8")
        self._in_query = version.in_query

    def request(self, exchange: Exchange) -> None:
        """Leave what the client says."""
        request = exchange.request
        if not self._in_query:
            if first(request.headers, self._name) is None:
                request.headers = [*request.headers, (self._name, self._value)]
        elif self._name not in parameter_names(request.path):
            separator = b"&" if b"?" in request.path else b"?"
            request.path += separator + self._name + b"=" + self._value
