-- image: what its functions give is not known, but for the kernels that layers are made with.
local P = ...
local type, exp, select = type, math.exp, select
image = setmetatable({}, {__index = function(_, name)
   return function() return P.not_known('image.' .. tostring(name)) end
end})
-- arguments one by one, or by their names in a table
local function given(defaults, ...)
   local first, values = ..., {}
   local by_name = type(first) == 'table' and not torch.typename(first)
   for i, entry in ipairs(defaults) do
      local value
      if by_name then value = first[entry[1]] else value = (select(i, ...)) end
      if value == nil then value = entry[2] end
      values[i] = value
   end
   return values
end
local function bell(size, sigma, mean)
   local made, center = torch.Tensor(size), mean * size + 0.5
   for i = 1, size do made[i] = exp(-((i - center) / (sigma * size)) ^ 2 / 2) end
   return made
end
-- image.gaussian1D(size, sigma, amplitude, normalize, mean)
function image.gaussian1D(...)
   local v = given({{'size', 3}, {'sigma', 0.25}, {'amplitude', 1}, {'normalize', false}, {'mean', 0.5}}, ...)
   local made = bell(v[1], v[2], v[5]):mul(v[3])
   return v[4] and made:div(made:sum()) or made
end
return image
