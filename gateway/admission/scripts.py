"""What runs inside Valkey, atomically. Its clock is the only one, so processes with different clocks agree.

Numbers travel as text without exponent; money stays below 2^53 units, where doubles are exact.
"""

from __future__ import annotations

# KEYS: processes, what this process was granted {<bucket>: "given back:granted", both in all}, then one hash per bucket
# {t: tokens that nobody holds, a: microseconds, l:<process>: "held:ms"}.
# ARGV: this process, then per bucket: tokens per microsecond, capacity, held after giving back, given back in all, as much of
# that as is known to have arrived, granted in all as far as it is known, wanted.
# Reply: processes alive, then per bucket: granted, tokens left, microseconds until the next one.
# Sums in all, because an answer may be lost: what was given back then counts once, and what was granted is granted still.
RATES = """
local clock = redis.call('TIME')
local us = clock[1] * 1000000 + clock[2]
local ms = math.floor(us / 1000)
local me = ARGV[1]
redis.call('ZADD', KEYS[1], ms + 5000, me)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms)
local out = {redis.call('ZCARD', KEYS[1])}
for i = 3, #KEYS do
  local key, a = KEYS[i], (i - 3) * 7 + 1
  local rate, capacity = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2])
  local held, given, arrived = tonumber(ARGV[a + 3]), tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5])
  local known, want = tonumber(ARGV[a + 6]), tonumber(ARGV[a + 7])
  local before, all_granted = string.match(redis.call('HGET', KEYS[2], key) or '', '^(%d+):(%d+)$')
  before, all_granted = tonumber(before), tonumber(all_granted)
  if before == nil or before < arrived or before > given or all_granted < known or all_granted - known > capacity then
    before, all_granted = arrived, known
  end
  local back, missed = given - before, all_granted - known
  held = held + missed
  local tokens, at, leased = nil, us, held
  local all = redis.call('HGETALL', key)
  for j = 1, #all, 2 do
    local field, value = all[j], all[j + 1]
    if field == 't' then tokens = tonumber(value)
    elseif field == 'a' then at = tonumber(value)
    elseif field ~= 'l:' .. me then
      local amount, told = string.match(value, '^(%d+):(%d+)$')
      if ms - tonumber(told) > 3000 then redis.call('HDEL', key, field) else leased = leased + tonumber(amount) end
    end
  end
  if tokens == nil then tokens = capacity end
  tokens = math.max(0, math.min(capacity - leased, tokens + back + (us - at) * rate))
  local granted = math.min(math.max(0, want - missed), math.floor(tokens))
  tokens = tokens - granted
  if given ~= arrived or granted + missed > 0 then
    redis.call('HSET', KEYS[2], key, string.format('%.0f:%.0f', given, all_granted + granted))
    redis.call('PEXPIRE', KEYS[2], 3600000)
  end
  redis.call('HSET', key, 't', string.format('%.6f', tokens), 'a', string.format('%.0f', us),
    'l:' .. me, string.format('%.0f:%.0f', held + granted, ms))
  redis.call('PEXPIRE', key, math.ceil(capacity / rate / 1000) + 5000)
  out[#out + 1] = granted + missed
  out[#out + 1] = math.floor(tokens)
  out[#out + 1] = math.ceil(math.max(0, 1 - tokens + math.floor(tokens)) / rate)
end
return out
"""

# KEYS: processes, then one hash per counter {b: base from Postgres, g: generation of the base, h: no grants before (ms),
# n: percent that people were told, o: owed, s:<process>: spent since the base, l:<process>: "held:ms"}.
# ARGV: this process, then per counter: limit, hard, generation, spent, held after giving back, wanted, lifetime in ms, owed.
# Reply: processes alive, then per counter: state (0 known, 1 no base, 2 not yet), generation, granted, room, used, percent to
# tell people of, 1 when a process died with a lease, what was owed, which who is granted something takes over.
BUDGETS = """
local clock = redis.call('TIME')
local ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local me = ARGV[1]
redis.call('ZADD', KEYS[1], ms + 5000, me)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms)
local out = {redis.call('ZCARD', KEYS[1])}
local function text(number) return string.format('%.0f', number) end
for i = 2, #KEYS do
  local key, a = KEYS[i], (i - 2) * 8 + 1
  local limit, hard, generation = tonumber(ARGV[a + 1]), ARGV[a + 2] == '1', ARGV[a + 3]
  local spent, held, want, ttl = tonumber(ARGV[a + 4]), tonumber(ARGV[a + 5]), tonumber(ARGV[a + 6]), ARGV[a + 7]
  local owed, taken = tonumber(ARGV[a + 8]), 0
  local base, known, hold, told, used, leased, dead = nil, '', 0, 0, 0, held, 0
  local all = redis.call('HGETALL', key)
  for j = 1, #all, 2 do
    local field, value = all[j], all[j + 1]
    if field == 'b' then base = tonumber(value)
    elseif field == 'g' then known = value
    elseif field == 'h' then hold = tonumber(value)
    elseif field == 'n' then told = tonumber(value)
    elseif field == 'o' then owed = owed + tonumber(value)
    elseif field == 's:' .. me or field == 'l:' .. me then
    elseif string.sub(field, 1, 2) == 's:' then used = used + tonumber(value)
    else
      local amount, at = string.match(value, '^(%d+):(%d+)$')
      leased = leased + tonumber(amount)
      if ms - tonumber(at) > 10000 and tonumber(amount) > 0 then dead = 1 end
    end
  end
  local state, granted, room, percent = 0, 0, 0, 0
  if base == nil then state = 1
  else
    if known == generation then
      redis.call('HSET', key, 's:' .. me, text(spent))
      used = used + spent
    end
    used = used + base
    room = limit - used - leased
    if hard and ms < hold then state = 2
    elseif hard then granted = math.max(0, math.min(want, room))
    else granted = want end
    room = room - granted
    if limit > 0 then
      local share = used / limit
      for _, step in ipairs({50, 75, 90, 100}) do if share * 100 >= step then percent = step end end
    end
    if percent > told then redis.call('HSET', key, 'n', percent) else percent = 0 end
  end
  redis.call('HSET', key, 'l:' .. me, text(held + granted) .. ':' .. text(ms))
  if granted > 0 then owed, taken = 0, owed end
  if owed ~= 0 then redis.call('HSET', key, 'o', text(owed)) else redis.call('HDEL', key, 'o') end
  redis.call('PEXPIRE', key, ttl)
  for _, value in ipairs({state, known, text(granted), text(room), text(used), percent, dead, text(taken)}) do
    out[#out + 1] = value
  end
end
return out
"""

# KEYS: a counter. Reply: its generation, and what processes have spent since its base.
SPENT = """
local total = 0
local all = redis.call('HGETALL', KEYS[1])
for j = 1, #all, 2 do
  if string.sub(all[j], 1, 2) == 's:' then total = total + tonumber(all[j + 1]) end
end
return {redis.call('HGET', KEYS[1], 'g') or '', string.format('%.0f', total)}
"""

# KEYS: a counter. ARGV: the sum from Postgres, the generation and the sum that SPENT gave before it was read, a name for a
# new generation, ms for which nothing is granted after data was lost, lifetime in ms. Reply: 1 when it was taken.
BASE = """
local clock = redis.call('TIME')
local ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local generation = redis.call('HGET', KEYS[1], 'g') or ''
if generation ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'b', string.format('%.0f', tonumber(ARGV[1]) - tonumber(ARGV[3])))
if generation == '' then
  redis.call('HSET', KEYS[1], 'g', ARGV[4], 'h', string.format('%.0f', ms + tonumber(ARGV[5])))
end
local all = redis.call('HGETALL', KEYS[1])
for j = 1, #all, 2 do
  if string.sub(all[j], 1, 2) == 'l:' then
    local at = string.match(all[j + 1], ':(%d+)$')
    if ms - tonumber(at) > 10000 then redis.call('HDEL', KEYS[1], all[j]) end
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[6])
return 1
"""
