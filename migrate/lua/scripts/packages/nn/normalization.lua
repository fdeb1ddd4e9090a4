-- Local normalization by a kernel over the planes.
local P = ...
local class = P.nn_class
local error, floor = error, math.floor

-- the kernel sums to 1 over the planes; Torch7's divisive one of one dimension, which runs twice, to the root of that
local function checked(self, planes, kernel, root)
   self.nInputPlane = planes or 1
   self.kernel = kernel or torch.Tensor(9, 9):fill(1)
   local dimensions = self.kernel:nDimension()
   if dimensions ~= 1 and dimensions ~= 2 then error(P.where() .. 'averaging kernel must be 2D or 1D', 0) end
   for i = 1, dimensions do
      if self.kernel:size(i) % 2 == 0 then error(P.where() .. 'averaging kernel must have ODD dimensions', 0) end
   end
   local factor = root and dimensions == 1 and math.sqrt(self.nInputPlane) or self.nInputPlane
   self.kernel:div(self.kernel:sum() * factor)
end

-- adds a weighted mean over the kernel and over all planes, for every plane
local function add_mean(self, net)
   local planes, kernel = self.nInputPlane, self.kernel
   local padH, padW = floor(kernel:size(1) / 2), floor(kernel:size(1) / 2)
   if kernel:nDimension() == 2 then padW = floor(kernel:size(2) / 2) end
   net:add(nn.SpatialZeroPadding(padW, padW, padH, padH))
   if kernel:nDimension() == 2 then
      local mean = nn.SpatialConvolution(planes, 1, kernel:size(2), kernel:size(1))
      for i = 1, planes do mean.weight[1][i]:copy(kernel) end
      mean.bias:zero()
      net:add(mean)
   else
      local along = nn.SpatialConvolutionMap(nn.tables.oneToOne(planes), kernel:size(1), 1)
      local across = nn.SpatialConvolution(planes, 1, 1, kernel:size(1))
      for i = 1, planes do
         along.weight[i]:copy(kernel)
         across.weight[1][i]:copy(kernel)
      end
      along.bias:zero()
      across.bias:zero()
      net:add(along):add(across)
   end
   net:add(nn.Replicate(planes, 1, 3))
   return net
end
class('SpatialSubtractiveNormalization', nil, function(self, planes, kernel)
   checked(self, planes, kernel)
   self.meanestimator = add_mean(self, nn.Sequential())
   self.subtractor, self.divider = nn.CSubTable(), nn.CDivTable()
   self.coef = torch.zeros(1, 1, 1)      -- Torch7 leaves there what the memory held until its first run
end)
class('SpatialDivisiveNormalization', nil, function(self, planes, kernel, threshold, value)
   checked(self, planes, kernel, true)
   self.threshold = threshold or 1e-4
   self.thresval = value or threshold or 1e-4
   self.meanestimator = add_mean(self, nn.Sequential())
   self.stdestimator = add_mean(self, nn.Sequential():add(nn.Square())):add(nn.Sqrt())
   self.normalizer, self.divider = nn.CDivTable(), nn.CDivTable()
   self.thresholder = nn.Threshold(self.threshold, self.thresval)
   self.coef = torch.zeros(1, 1, 1)      -- Torch7 leaves there what the memory held until its first run
end)
class('SpatialContrastiveNormalization', nil, function(self, planes, kernel, threshold, value)
   checked(self, planes, kernel)
   self.threshold = threshold or 1e-4
   self.thresval = value or threshold or 1e-4
   self.normalizer = nn.Sequential():add(nn.SpatialSubtractiveNormalization(self.nInputPlane, self.kernel))
   self.normalizer:add(nn.SpatialDivisiveNormalization(self.nInputPlane, self.kernel, self.threshold, self.thresval))
end)
