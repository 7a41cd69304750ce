-- The history of this Redis. It changes with a restart, a promotion or a restored backup: whenever grants may have been lost.
local function history()
  local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  return run_id .. '/' .. replid
end

-- Version of the format of a campaign's keys (lua/README.md): these scripts touch nothing of a higher one, which only newer ones know.
local FORMAT = 1
local function known_format(format) -- of a meta key
  local version = tonumber(format) or 1
  if version > FORMAT then
    error({ err = 'NEWER the keys are of version ' .. version .. ', and this program knows versions up to ' .. FORMAT .. ': run a newer one' })
  end
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
