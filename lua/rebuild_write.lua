-- Step 2 of 3, once per chunk: writes winners and free ranks into the temporary keys. Whoever comes first stands: a member that
-- is there already is refused.
--
-- KEYS  temporary meta, issued, count, request, free
-- ARGV  history captured before Redis was read, seconds the attempt may take, number of winners (at most 4,000),
--       then five per winner: rank (one that nobody holds), n, user, granted ms, request key;
--       the rest are free ranks, ascending (at most 4,000)
-- Reply {status, places of refused winners in this chunk, from 1}: OK; HISTORY; GONE (the attempt ran out of time)
if history() ~= ARGV[1] then return { 'HISTORY', {} } end
if redis.call('EXISTS', KEYS[1]) == 0 then return { 'GONE', {} } end
local winners = tonumber(ARGV[3])
local last = 3 + 5 * winners
local refused = {}
if winners > 0 then
  local members = {}
  for i = 4, last, 5 do members[#members + 1] = ARGV[i + 1] .. ':' .. ARGV[i + 2] end
  local taken = redis.call('ZMSCORE', KEYS[2], unpack(members))
  local here, more, users, scores, requests = {}, {}, {}, {}, {}
  for place, member in ipairs(members) do
    if taken[place] or here[member] then
      refused[#refused + 1] = place
    else
      here[member] = true
      local i = 5 * place - 1
      local user = ARGV[i + 2]
      if not more[user] then users[#users + 1] = user end
      more[user] = (more[user] or 0) + 1
      scores[#scores + 1] = ARGV[i]
      scores[#scores + 1] = member
      requests[#requests + 1] = member
      requests[#requests + 1] = ARGV[i + 3] .. ':' .. ARGV[i + 4]
    end
  end
  if #users > 0 then
    local counts = {}
    for k, count in ipairs(redis.call('HMGET', KEYS[3], unpack(users))) do
      counts[#counts + 1] = users[k]
      counts[#counts + 1] = (tonumber(count or 0) or 0) + more[users[k]]
    end
    redis.call('ZADD', KEYS[2], unpack(scores))
    redis.call('HSET', KEYS[3], unpack(counts))
    redis.call('HSET', KEYS[4], unpack(requests))
  end
end
if #ARGV > last then redis.call('RPUSH', KEYS[5], unpack(ARGV, last + 1, #ARGV)) end
for i = 1, 5 do redis.call('EXPIRE', KEYS[i], ARGV[2]) end
return { 'OK', refused }
