-- mnist: how many digits of which size the package's two sets hold. What they show is not known, and differs between the runs.
local P = ...
local function set(count)
   local data, label = torch.ByteTensor(count, 28, 28):fill(P.run + 1), torch.ByteTensor(count):fill(P.run + 1)
   return {data = data, label = label, size = count}
end
return {traindataset = function() return set(60000) end, testdataset = function() return set(10000) end}
