-- What dump_reference.lua asks of Torch7 and of its machine, where both are the product's.
local P = ...
local torch = P.torch
local concat, tostring, select, error, ipairs, type = table.concat, tostring, select, error, ipairs, type

-- files: the names that it may open; arguments: those of its command line
function P.reference(files, arguments)
   local said, there = {}, {}
   for _, name in ipairs(files) do there[name] = true end
   local opened = {close = function() end}
   io.stderr = {write = function(self, ...)
      for i = 1, select('#', ...) do said[#said + 1] = tostring((select(i, ...))) end
      return self
   end}
   io.open = function(name) return type(name) == 'string' and there[name] and opened or nil end
   os.exit = function() error(concat(said), 0) end
   torch.save = function(_, value) P.saved = value end
   arg = arguments
end
