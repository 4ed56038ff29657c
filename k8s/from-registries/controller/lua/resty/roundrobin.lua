-- Weighted round robin for the controller's balancer, which asks for resty.roundrobin: new, reinit, find, nodes.
local _M = {}
_M.__index = _M

function _M.new(self, nodes)
  local rr = setmetatable({}, _M)
  rr:reinit(nodes)
  return rr
end

-- nodes: a table of node id to weight (a positive integer; the controller gives 1 to each endpoint).
function _M.reinit(self, nodes)
  self.nodes, self.ring, self.next = {}, {}, 0
  for id, weight in pairs(nodes) do
    self.nodes[id] = weight
    for _ = 1, weight do self.ring[#self.ring + 1] = id end
  end
  -- pairs() has no order: sorted, so that every worker goes round in the same one; started anywhere, so that the workers
  -- do not all begin with the same endpoint.
  table.sort(self.ring)
  if #self.ring > 0 then self.next = math.random(#self.ring) - 1 end
end

function _M.find(self)
  if #self.ring == 0 then return nil, "no nodes" end
  self.next = self.next % #self.ring + 1
  return self.ring[self.next]
end

return _M
