"""What stands behind many keys: names, addresses, counts and times, each with the form that it has."""

from typing import Annotated

from proxyd.core.units import DAY, MILLISECOND
from proxyd.reading import addresses, names
from proxyd.reading.readers import Seconds, Text, Whole

Name = Annotated[str, Text(names.name, "name", names.NAME_PATTERN)]
SecretName = Annotated[str, Text(names.name, "secret", names.NAME_PATTERN)]
AnySecretName = Annotated[str, Text(names.any_secret, "secret", names.ANY_SECRET_PATTERN)]
FieldName = Annotated[str, Text(names.field_name, "field", names.FIELD_PATTERN)]
ListenerAddress = Annotated[str, Text(addresses.listener_address, "ip:port or unix:path")]
ListenAddress = Annotated[str, Text(addresses.listen_address, "ip:port")]
FilePath = Annotated[str, Text(names.path_text, "path")]
Cidr = Annotated[str, Text(addresses.cidr, "range")]
HeaderName = Annotated[str, Text(names.header_name, "header", names.FIELD_NAME_PATTERN)]
UserName = Annotated[str, Text(names.user_name, "user")]
Prefix = Annotated[str, Text(names.plain_text, "text")]
Count = Annotated[int, Whole(1, 1_000_000)]
CountOrNone = Annotated[int, Whole(0, 1_000_000_000)]
Id = Annotated[int, Whole(0, 2**32 - 2)]
TimeLimit = Annotated[float, Seconds(MILLISECOND, 7 * DAY)]
TimeLimitOrNone = Annotated[float, Seconds(0.0, 7 * DAY)]
