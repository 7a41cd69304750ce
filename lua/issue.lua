-- Gives ranks to a batch of requests: the only place where a rank is given.
--
-- KEYS  meta, issued, count, request, free
-- ARGV  epoch, highest rank the caller has seen, then three per request: user, request key, '1' if the key was minted
-- Reply {status, now ms, epoch, total, limit, issued, highest, start ms, end ms, suspended (0 or 1), plain, rank before, issued before}, {six per
-- request: code, rank, n, issued count, granted ms, request key (empty: that of the request)}
--
-- The first `plain` requests have no six: each is a new grant of its user's first place, now, with the rank and the count of issued coupons that follow
-- those of the one before. Most batches are nothing else, and to say so six times for each costs a tenth of the script.
--
-- Status OK; or nothing was done: CLOSED (no meta), HISTORY (another Redis than the one the ledger was built in), EPOCH
-- (the caller's is not the open one), BEHIND (ranks that the caller has seen are missing here: a snapshot was resumed. The
-- campaign is closed on the spot, so that no other caller, who has seen less, grants those ranks again), DAMAGED (the keys do not
-- fit together: whole.lua. Also closed on the spot).
-- Codes: 1 granted, 2 repeated (same user and request: same rank), 3 user limit, 4 sold out, 5 not started, 6 ended, 7 suspended.
-- A batch that is sent again grants nothing twice. One without requests gives nothing: it
-- tells whether requests would be answered.
local META, ISSUED, COUNT, REQUEST, FREE = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local GRANTED, REPEATED, USER_LIMIT, SOLD_OUT, NOT_STARTED, ENDED, SUSPENDED = 1, 2, 3, 4, 5, 6, 7
-- Redis' Lua refuses to unpack some 8,000 values at once.
local CHUNK = 4000

local meta = redis.call('HMGET', META, 'epoch', 'history', 'total', 'limit', 'start_ms', 'end_ms', 'suspended', 'highest', 'last_ms',
  'format')
known_format(meta[10])
if not meta[1] then return { { 'CLOSED' }, {} } end
local epoch, total, limit = tonumber(meta[1]), tonumber(meta[3]), tonumber(meta[4])
local start_ms, end_ms, suspended = tonumber(meta[5]), tonumber(meta[6]), meta[7] == '1'
local highest = tonumber(meta[8])
if meta[2] ~= history() then return { { 'HISTORY' }, {} } end
if epoch ~= tonumber(ARGV[1]) then return { { 'EPOCH', 0, epoch }, {} } end
if highest < tonumber(ARGV[2]) then
  redis.call('DEL', META)
  return { { 'BEHIND' }, {} }
end

local function damaged()
  redis.call('DEL', META)
  return { { 'DAMAGED' }, {} }
end
local issued, misfit = whole(ISSUED, COUNT, REQUEST, FREE, highest)
if misfit then return damaged() end

-- A promoted replica may have a clock that is behind: time never goes back within a campaign.
local now = math.max(now_ms(), tonumber(meta[9]))
local now_text = string.format('%.0f', now)
local stamp = now_text .. ':'

-- A number that is made text, and `#` of a growing table, cost more than all else here: texts are kept, tables counted.
local prefix, text = {}, {}
local function field(n, user)
  if not prefix[n] then prefix[n] = n .. ':' end
  return prefix[n] .. user
end
local function as_text(n)
  if not text[n] then text[n] = string.format('%d', n) end
  return text[n]
end

-- What every asking user already holds: held[user][n] = '<granted ms>:<request key>' (no table: nothing), and how many of these there
-- are. Who holds nothing, as most do, costs one field, whatever the limit is; that one is read all the same, so that a count that is
-- missing gives nobody a second rank.
local held, holds, asked, users = {}, {}, {}, 0
local again = {} -- who asks more than once in this batch: of the others nothing need be remembered
for i = 3, #ARGV, 3 do
  local user = ARGV[i]
  if not holds[user] then
    users = users + 1
    holds[user], asked[users] = 0, user
  else
    again[user] = true
  end
end
local counts = limit > 1 and users > 0 and redis.call('HMGET', COUNT, unpack(asked)) or {}
local counted = {} -- with a limit of one nobody needs it
-- With a limit of one the fields are those of the users' first places, in their order.
local single = limit == 1 and users <= CHUNK
local fields, owners, places, wanted, read = {}, single and asked or {}, {}, 0, 0
local function read_held()
  local values = redis.call('HMGET', REQUEST, unpack(fields, 1, wanted))
  for i = 1, wanted do
    if values[i] then
      local user = owners[i]
      held[user] = held[user] or {}
      held[user][places[i] or 1] = values[i]
      holds[user] = holds[user] + 1
    end
  end
  wanted, read = 0, read + wanted
end
for i = 1, users do
  local user, most = asked[i], 1
  if limit > 1 then
    counted[user] = tonumber(counts[i] or 0) or 0
    if counted[user] > 0 then most = limit end
  end
  for n = 1, most do
    wanted = wanted + 1
    fields[wanted] = field(n, user)
    if not single then owners[wanted], places[wanted] = user, n end
    if wanted == CHUNK then read_held() end
  end
end
if wanted > 0 then read_held() end
if limit > 1 then
  for i = 1, users do
    if holds[asked[i]] > counted[asked[i]] then return damaged() end
  end
end

local free = {}
if issued < highest and users > 0 then free = redis.call('LRANGE', FREE, 0, (#ARGV - 2) / 3 - 1) end
local free_taken = 0
local ranks = {} -- of this batch, by member
local new_issued, new_requests, new_counts, grants = {}, {}, {}, 0
local without_rank = false

local function next_rank()
  if issued >= total then return nil end
  if free[free_taken + 1] then
    free_taken = free_taken + 1
    return tonumber(free[free_taken])
  end
  if highest >= total then return nil end
  highest = highest + 1
  return highest
end

-- `first`: the member of the user's first place, if it was made already.
local function decide(user, key, minted, first)
  local mine = held[user]
  local count, lowest_free = 0, not mine and 1 or nil
  for n = 1, mine and limit or 0 do
    if lowest_free and count == holds[user] then break end
    local value = mine[n]
    if value then
      count = count + 1
      local granted_ms, held_key = string.match(value, '^(%d+):(.*)$')
      -- Without a key of the client's and with a limit of one, the user is the key.
      if held_key == key or (minted and limit == 1) then
        local member = field(n, user)
        local rank = ranks[member] or tonumber(redis.call('ZSCORE', ISSUED, member))
        if not rank then without_rank = true end
        -- A record without a readable key is told as one: with a key that none can be.
        return REPEATED, rank, n, issued, granted_ms, held_key == key and '' or (held_key ~= '' and held_key or '\n')
      end
    elseif not lowest_free then
      lowest_free = n
    end
  end
  if count >= limit then return USER_LIMIT end
  if now < start_ms then return NOT_STARTED end
  if now >= end_ms then return ENDED end
  if suspended then return SUSPENDED end
  local rank = next_rank()
  if not rank then return SOLD_OUT end
  issued = issued + 1
  local member, value = lowest_free == 1 and first or field(lowest_free, user), stamp .. key
  -- Not what was found: a grant that was given up is counted too, and has a place above every limit.
  local all = (counted[user] or 0) + 1
  if again[user] then
    mine = mine or {}
    mine[lowest_free], held[user], holds[user] = value, mine, count + 1
    ranks[member], counted[user] = rank, all
  end
  grants = grants + 1
  local second = 2 * grants
  new_issued[second - 1], new_issued[second] = string.format('%d', rank), member
  new_requests[second - 1], new_requests[second] = member, value
  new_counts[second - 1], new_counts[second] = user, all == 1 and '1' or as_text(all)
  return GRANTED, rank, lowest_free, issued, now
end

-- Where each user asks once and was looked up by one field, the requests are in the order of the fields.
local in_order = read == users and users <= CHUNK and 3 * users == #ARGV - 2
local rank_before, issued_before = highest, issued
local answers, at, plain, turn = {}, 0, 0, 0
for i = 3, #ARGV, 3 do
  turn = turn + 1
  local code, rank, n, count, granted_ms, key = decide(ARGV[i], ARGV[i + 1], ARGV[i + 2] == '1', in_order and fields[turn])
  if at == 0 and code == GRANTED and n == 1 and rank == rank_before + plain + 1 then
    plain = plain + 1
  else
    answers[at + 1], answers[at + 2], answers[at + 3] = code, rank or 0, n or 0
    answers[at + 4], answers[at + 5], answers[at + 6] = count or issued, granted_ms or 0, key or ''
    at = at + 6
  end
end

if without_rank then return damaged() end

-- A script is atomic but not transactional: an error, such as a right that is missing, leaves what was written before it. The sorted
-- set is what counts: whoever is not in it holds nothing. It comes last, so that a winner is whole or is none, and asks again with
-- the same key; first, it would leave winners whose requests nobody knows. What is left half done does not fit together in number
-- at any point in between, so the next call closes the campaign.
if grants > 0 then
  redis.call('HSET', REQUEST, unpack(new_requests))
  redis.call('HSET', COUNT, unpack(new_counts))
  if free_taken > 0 then redis.call('LTRIM', FREE, free_taken, -1) end
  redis.call('HSET', META, 'highest', highest, 'last_ms', now_text)
  -- A rank that was given stays, whatever else is lost.
  if redis.call('ZADD', ISSUED, 'NX', unpack(new_issued)) ~= grants then return damaged() end
end
return { { 'OK', now, epoch, total, limit, issued, highest, start_ms, end_ms, suspended and 1 or 0, plain, rank_before, issued_before }, answers }
