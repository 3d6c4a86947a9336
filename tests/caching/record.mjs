// Records what http-cache-semantics says of the cases on standard input; see cases.py.
// node tests/caching/record.mjs FOLDER > tests/caching/http_cache_semantics.json
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.argv[2] + "/");
const CachePolicy = require("http-cache-semantics");
const { version } = require("http-cache-semantics/package.json");
const { now, cases } = JSON.parse(readFileSync(0, "utf8"));

let clock = now;
class Policy extends CachePolicy {
  now() {
    return clock * 1000;
  }
}

const verdicts = cases.map((one) => {
  clock = now;
  const url = "/x";
  const request = { url, method: one.method, headers: { host: "a.test", ...one.request } };
  const policy = new Policy(request, { status: one.status, headers: one.response }, { shared: true });
  const kept = policy.storable();
  clock = now + one.later;
  const second = { url, method: "GET", headers: { host: "a.test", ...one.second } };
  return [kept, kept && policy.satisfiesWithoutRevalidation(second), kept ? Math.round(policy.age()) : 0];
});
const lines = verdicts.map((verdict) => JSON.stringify(verdict)).join(",\n");
process.stdout.write(`{"version": ${JSON.stringify(version)}, "verdicts": [\n${lines}\n]}\n`);
