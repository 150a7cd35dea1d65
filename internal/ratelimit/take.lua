-- Grants all asks or none: KEYS are buckets, and ARGV has rate, burst, period
-- in microseconds and tokens wanted for each. The arithmetic is bucket.go's,
-- in seconds, since that is what redis_rate stores. The reply starts with 1 if
-- granted, then has remaining tokens, retry-after and reset-after for each
-- bucket, in microseconds; retry-after is -1 for those that did not refuse.

local epoch = 1483228800 -- redis_rate counts from 2017-01-01, for a double's sake
local clock = redis.call('TIME')
local now = (clock[1] - epoch) + clock[2] / 1000000

local function micros(seconds)
  return math.floor(math.min(seconds * 1000000, 9e15) + 0.5)
end

local buckets, granted = {}, 1
for i, key in ipairs(KEYS) do
  local rate, burst = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2])
  local interval = tonumber(ARGV[4 * i - 1]) / 1000000 / rate
  local n = tonumber(ARGV[4 * i])
  local full = tonumber(redis.call('GET', key) or now) or now
  local debt = math.max(full - now, 0)
  local bucket = {
    interval = interval,
    capacity = interval * burst,
    slack = math.min(0.000001, interval / 2),
    debt = debt,
    wanted = math.max(debt + interval * n, 0),
    retry = -1,
  }
  local over = bucket.wanted - bucket.capacity
  if over > bucket.slack and n >= 0 then
    bucket.retry = micros(over)
    granted = 0
  end
  buckets[i] = bucket
end

local reply = {granted}
for i, b in ipairs(buckets) do
  local debt, remaining = b.debt, 0
  if granted == 1 then
    debt = b.wanted
    if debt > 0 then
      redis.call('SET', KEYS[i], now + debt, 'EX', math.ceil(debt))
    elseif b.debt > 0 then
      redis.call('DEL', KEYS[i])
    end
  end
  if b.retry < 0 then
    remaining = math.max(math.floor((b.capacity - debt + b.slack) / b.interval), 0)
  end
  reply[3 * i - 1], reply[3 * i], reply[3 * i + 1] = remaining, b.retry, micros(debt)
end
return reply
