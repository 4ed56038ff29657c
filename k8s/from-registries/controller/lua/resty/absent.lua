-- Stands in for modules that the controller loads at start and uses only for OCSP and global rate limits, neither of which
-- is switched on here: loading works, using it is an error that names the module.
local name = ...
return setmetatable({}, {
  __index = function(_, key)
    error(name .. "." .. tostring(key) .. ": this module is not part of the image built from package registries")
  end,
})
