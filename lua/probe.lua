-- Tries every command that the other scripts and the programs use, on keys of no campaign, and removes those keys. A right that is
-- missing shows here, by name, and not in the middle of a sale (README, Install, lists them). As the others it is refused as a whole
-- where Redis takes no writes.
--
-- KEYS  meta, issued, count, request, free, temporary
-- ARGV  whose commands: 'issuer' (the pods: issuers, and consumers that replay), 'operator' or 'forget' (the pods' login, when it
--       forgets people), who need some more
-- Reply {now ms (0 when TIME fails), two per failure: command, what Redis said}
local META, ISSUED, COUNT, REQUEST, FREE, TEMPORARY = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local tries = {
  { 'INFO', 'server' }, { 'TIME' }, { 'DEL', META, ISSUED, COUNT, REQUEST, FREE, TEMPORARY },
  { 'HSET', META, 'epoch', '1' }, { 'HSET', COUNT, 'u', '1' }, { 'HSET', REQUEST, '1:u', '1:k' }, { 'ZADD', ISSUED, '1', '1:u' },
  { 'TYPE', META }, { 'HMGET', META, 'epoch' }, { 'HGET', META, 'epoch' }, { 'HLEN', REQUEST }, { 'ZCARD', ISSUED },
  { 'ZSCORE', ISSUED, '1:u' }, { 'ZMSCORE', ISSUED, '1:u' }, { 'LLEN', FREE }, { 'LRANGE', FREE, '0', '0' },
  { 'LTRIM', FREE, '0', '-1' }, { 'ZRANGEBYSCORE', ISSUED, '1', '1' },
}
if ARGV[1] == 'operator' then
  for _, more in ipairs({
    { 'RPUSH', FREE, '1' }, { 'EXISTS', META }, { 'EXPIRE', META, '60' }, { 'PERSIST', META }, { 'RENAME', COUNT, TEMPORARY },
    { 'ZRANGE', ISSUED, '0', '0' }, { 'UNLINK', TEMPORARY },
  }) do tries[#tries + 1] = more end
end
if ARGV[1] == 'forget' then
  for _, more in ipairs({ { 'ZREM', ISSUED, '1:u' }, { 'HDEL', REQUEST, '1:u' } }) do tries[#tries + 1] = more end
end
tries[#tries + 1] = { 'DEL', META, ISSUED, COUNT, REQUEST, FREE, TEMPORARY }

local now, failures, named = '0', {}, {}
for _, try in ipairs(tries) do
  local answer = redis.pcall(unpack(try))
  if type(answer) == 'table' and answer.err then
    if not named[try[1]] then
      named[try[1]] = true
      failures[#failures + 1] = try[1]
      failures[#failures + 1] = answer.err
    end
  elseif try[1] == 'TIME' then
    now = string.format('%.0f', answer[1] * 1000 + math.floor(answer[2] / 1000))
  end
end
-- What every script does first: the identity of this Redis, which a server may leave out of its INFO.
local found, why = pcall(history)
if not found and not named['INFO'] then
  failures[#failures + 1] = 'INFO server, INFO replication'
  failures[#failures + 1] = type(why) == 'table' and why.err or tostring(why)
end
return { now, failures }
