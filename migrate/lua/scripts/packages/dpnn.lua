-- dpnn: its layers that definitions use most, written from what Torch7 recorded. Others are refused by name.
local P = ...
require 'nn'
dpnn = {}
for _, name in ipairs{'ReverseTable', 'ZipTable'} do
   P.nn_class(name, nil, function(self) self.output, self.gradInput = {}, {} end)
end
return dpnn
