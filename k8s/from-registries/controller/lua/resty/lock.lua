-- A lock over a shared dictionary that never waits, as the controller's EWMA balancer uses it (timeout 0).
local _M = {}
_M.__index = _M

function _M.new(self, dict, opts)
  if opts.timeout ~= 0 then return nil, "this lock cannot wait: timeout must be 0" end
  return setmetatable({ dict = ngx.shared[dict], exptime = opts.exptime or 30 }, _M)
end

function _M.lock(self, key)
  local ok, err = self.dict:add(key, true, self.exptime)
  if not ok then return nil, err == "exists" and "timeout" or err end
  self.key = key
  return 0
end

function _M.unlock(self)
  if not self.key then return nil, "unlocked" end
  self.dict:delete(self.key)
  self.key = nil
  return 1
end

return _M
