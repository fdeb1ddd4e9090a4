-- inn: layers of imagine-nn, written from what Torch7 recorded.
local P = ...
require 'nn'
local ipairs, floor = ipairs, math.floor
inn = {}

local function own(name, init, parent)
   local class = torch.class('inn.' .. name, parent or 'nn.Module')
   class.__init = function(self, ...)
      P.module_fields(self)
      init(self, ...)
   end
   return class
end
local ConstAffine = own('ConstAffine', function(self, planes)
   self.a, self.b, self.inplace = torch.Tensor(planes), torch.Tensor(planes), false
   self:reset()
end)
function ConstAffine:reset()
   self.a:fill(1)
   self.b:zero()
end
own('MeanSubtraction', function(self, mean) self.mean = mean end)
own('ROIPooling', function(self, W, H, scale)
   self.W, self.H, self.spatial_scale, self.v2 = W, H, scale or 1, true
   self.gradInput, self.indices = {}, torch.Tensor()
end).setSpatialScale = function(self, scale)
   self.spatial_scale = scale
   return self
end
own('SpatialCrossResponseNormalization', function(self, size, alpha, beta, k)
   self.size, self.alpha, self.beta, self.k = size, alpha or 1e-4, beta or 0.75, k or 1
end)
own('SpatialSameResponseNormalization', function(self, size, alpha, beta)
   self.modules = {}
   self.size, self.alpha, self.beta = size or 3, alpha or 5e-5, beta or 0.75
   local pad = floor(self.size / 2)
   local strength = nn.Sequential():add(nn.Square())
   strength:add(nn.SpatialAveragePooling(self.size, self.size, 1, 1, pad, pad))
   strength:add(nn.MulConstant(self.alpha, true)):add(nn.AddConstant(1, true)):add(nn.Power(self.beta))
   self:add(nn.ConcatTable():add(nn.Identity()):add(strength)):add(nn.CDivTable())
end, 'nn.Sequential')
own('SpatialPyramidPooling', function(self, ...)
   local sizes = {...}
   if #sizes == 1 then sizes = sizes[1] end
   self.modules = {}
   self.dimension, self.outputSize, self.pyr = 1, torch.LongStorage(), sizes
   for _, size in ipairs(sizes) do
      self:add(nn.Sequential():add(nn.SpatialAdaptiveMaxPooling(size[1], size[2])):add(nn.View(-1):setNumInputDims(3))
         :add(nn.Contiguous()))
   end
end, 'nn.Concat')
-- these cover the border that nn's leave out
for _, name in ipairs{'SpatialMaxPooling', 'SpatialAveragePooling'} do
   local class = torch.class('inn.' .. name, 'nn.' .. name)
   class.__init = function(self, ...)
      nn[name].__init(self, ...)
      self:ceil()
   end
end
return inn
