-- One request, repeated; every answer is compared with what is expected. Configured by the environment (see load.py), because
-- the API key must not stand on a command line.
local function content(name)
  local file = assert(io.open(assert(os.getenv(name)), "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

wrk.method = "POST"
wrk.body = content("BENCH_BODY")
for line in content("BENCH_HEADERS"):gmatch("[^\n]+") do
  local name, value = line:match("^([^:]+): (.*)$")
  wrk.headers[name] = value
end

local expected = content("BENCH_EXPECTED")
wrong = 0
sample = ""

function response(status, headers, body)
  if status ~= 200 or not body:find(expected, 1, true) then
    wrong = wrong + 1
    if sample == "" then
      sample = status .. " " .. body:sub(1, 500)
    end
  end
end

-- Spread over twice the mean, so that connections do not march in step.
local pause = tonumber(os.getenv("BENCH_PAUSE_MS") or "0")
if pause > 0 then
  function delay()
    return math.random(0, 2 * pause)
  end
end

local threads = {}
function setup(thread)
  table.insert(threads, thread)
end

function done(summary, latency, requests)
  local wrong_total, first = 0, ""
  for _, thread in ipairs(threads) do
    wrong_total = wrong_total + thread:get("wrong")
    if first == "" then
      first = thread:get("sample")
    end
  end
  local errors = summary.errors
  local file = assert(io.open(os.getenv("BENCH_RESULT"), "wb"))
  file:write(string.format("%d %d %d %d %d %d %d %d %d %d\n%s",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.connect, errors.read, errors.write, errors.timeout, wrong_total, first))
  file:close()
end
