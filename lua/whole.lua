-- Whether the five keys of a campaign fit together in number: O(1). Where they do not, one of them was evicted or removed, or an error
-- broke a batch off between two writes; whoever has a rank could get a second one, or a rank could be lost. Reads only, and meets a
-- key of another type before anything is written.
--
-- Answers how many winners there are, and in words what does not fit (nil when all does).
local function whole(issued_key, count_key, request_key, free_key, highest)
  local issued, users = redis.call('ZCARD', issued_key), redis.call('HLEN', count_key)
  local requests, free = redis.call('HLEN', request_key), redis.call('LLEN', free_key)
  if requests ~= issued then return issued, issued .. ' winners and the requests of ' .. requests end
  if issued + free ~= highest then
    return issued, issued .. ' winners and ' .. free .. ' free ranks up to rank ' .. highest
  end
  -- A user may hold several.
  if users > issued or (users == 0 and issued > 0) then return issued, issued .. ' winners and the counts of ' .. users .. ' users' end
  return issued, nil
end
