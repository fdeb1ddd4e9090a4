-- optim: its methods can be named; none is run while a model is built.
local P = ...
optim = setmetatable({}, {__index = function(_, name)
   if name == 'Logger' or name == 'ConfusionMatrix' then return function() return P.swallowed('optim.' .. name) end end
   return function() error(P.where() .. 'optim.' .. tostring(name) .. ' is not there for a definition', 0) end
end})
return optim
