-- image: its functions can be named; none is run while a model is built.
local P = ...
image = setmetatable({}, {__index = function(_, name)
   return function() error(P.where() .. 'image.' .. tostring(name) .. ' is not there for a definition', 0) end
end})
return image
