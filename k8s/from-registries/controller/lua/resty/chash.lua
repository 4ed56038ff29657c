-- Consistent hashing for the controller's balancer, which asks for resty.chash: new, reinit, find, nodes.
local _M = {}
_M.__index = _M

local POINTS = 160 -- on the ring for each unit of weight

function _M.new(self, nodes)
  local ch = setmetatable({}, _M)
  ch:reinit(nodes)
  return ch
end

-- nodes: a table of node id to weight (a positive integer).
function _M.reinit(self, nodes)
  self.nodes, self.ring = {}, {}
  for id, weight in pairs(nodes) do
    self.nodes[id] = weight
    for point = 1, POINTS * weight do
      self.ring[#self.ring + 1] = { ngx.crc32_long(id .. "#" .. point), id }
    end
  end
  table.sort(self.ring, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
end

function _M.find(self, key)
  local ring = self.ring
  if #ring == 0 then return nil, "no nodes" end
  local hash, low, high = ngx.crc32_long(tostring(key)), 1, #ring
  while low < high do -- the first point at or after the hash
    local middle = math.floor((low + high) / 2)
    if ring[middle][1] < hash then low = middle + 1 else high = middle end
  end
  return ring[ring[low][1] < hash and 1 or low][2]
end

return _M
