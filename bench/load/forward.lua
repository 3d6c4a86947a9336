-- wrk connects to the proxy and asks for the origin's URL in absolute form. The request is built once (wrk.init),
-- so no Lua runs per request.
wrk.path = assert(os.getenv("BENCH_URL"), "BENCH_URL is not set")
wrk.headers["Host"] = assert(os.getenv("BENCH_AUTHORITY"), "BENCH_AUTHORITY is not set")

local key = os.getenv("BENCH_KEY")
if key then
  wrk.headers["X-Api-Key"] = key
end

local size = tonumber(os.getenv("BENCH_BODY_BYTES") or "0")
if size > 0 then
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/octet-stream"
  wrk.body = string.rep("x", size)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.6f, "p50_us": %.1f, "p99_us": %.1f, "max_us": %.1f, "errors": %d, "refused": %d}\n',
    summary.requests, summary.duration / 1000000, latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
