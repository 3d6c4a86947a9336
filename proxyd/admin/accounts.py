"""The admin methods of limits, quotas and caches."""

from typing import Final

from proxyd.admin.method import Kind, Method, Param
from proxyd.admin.role import Role

MAX_TOKENS: Final = 1_000_000_000

_WHICH: Final = (
    Param("service", Kind.TEXT, "name of the service", required=True),
    Param("limit", Kind.TEXT, "name of its quota", required=True),
)
_KEY: Final = Param("key", Kind.TEXT, "what it counts by, where it counts more than one thing, as `quotas` shows it")

ACCOUNT_METHODS: Final = (
    Method("limits", "the limits of services",
           "a list: what each allows, to whom; how many requests wait, have waited and were refused; what is left and "
           "when all is free again, where one thing is counted; of quotas also when nothing will be left at this pace "
           "(`exhausted`). Of vendors' own limits (`limit` is `vendor`) a row for "
           "each window and credential: what the vendor refused all the same (`refusals`), how long it asks to be left "
           "alone (`paused_seconds`), and attempts by caller since the window began (`spenders`)",
           lambda session: session.service.accounts.limits()),
    Method("quotas", "the quotas of services, and how much of them is used",
           "a list: period, quota, granted besides, used (what workers hold included), lent, remaining, when the "
           "period ends, and when the quota will at this pace (`exhausted`, Unix time; nil: not before)",
           lambda session: session.service.accounts.quotas()),
    Method("quota_set", "say how much of a quota is used in this period", "`{ok, …}` as in `quotas`",
           lambda session, **values: session.service.accounts.set_used(**values),
           (*_WHICH, Param("used", Kind.WHOLE, "tokens", required=True, most=MAX_TOKENS), _KEY), Role.FULL),
    Method("quota_reset", "begin a quota's period anew: nothing is used, nothing granted besides",
           "`{ok, …}` as in `quotas`",
           lambda session, **values: session.service.accounts.reset(**values), (*_WHICH, _KEY), Role.FULL),
    Method("quota_grant", "allow so many more in this period", "`{ok, …}` as in `quotas`",
           lambda session, **values: session.service.accounts.grant(**values),
           (*_WHICH, Param("tokens", Kind.WHOLE, "how many more", required=True, least=1, most=MAX_TOKENS), _KEY),
           Role.FULL),
    Method("caches", "what is kept of services' answers", "a list: entries and bytes by worker and service",
           lambda session: session.service.accounts.caches()),
    Method("cache_purge", "forget what is kept of a service",
           "`{ok, purged}`: entries that went; `ok` is false where a worker did not answer within 2 s",
           lambda session, **values: session.service.accounts.purge(**values),
           (Param("service", Kind.TEXT, "name of the service", required=True),
            Param("path", Kind.TEXT, "only this path, or all beneath it where it ends in a slash"),
            Param("tag", Kind.TEXT, "only what Cache-Tag or Surrogate-Key names so")),
           Role.FULL),
)  # fmt: skip
