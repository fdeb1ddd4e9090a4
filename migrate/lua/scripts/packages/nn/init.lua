-- nn: constructors that leave in their objects what Torch7's leave there, and the methods that definitions call.
-- Written from what Torch7 recorded (fixtures/lua), not from its sources. Nothing here computes an output.
local P = ...
nn = {}
for _, part in ipairs{'shared', 'module', 'container', 'linear', 'pointwise', 'convolution', 'pooling', 'normalization', 'reshaping', 'tables',
                        'criterions', 'decorators', 'rare'} do
   P.part('nn.' .. part)
end
return nn
