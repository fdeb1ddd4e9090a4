-- Layers that few definitions use.
local P = ...
local class, need, draw = P.nn_class, P.need_number, P.draw
local error, ipairs, sqrt, floor = error, ipairs, math.sqrt, math.floor

-- a linear map of which only some columns can be used; the partition is all of them
local Partial = class('PartialLinear', nil, function(self, inputs, outputs, bias)
   need('PartialLinear', inputs, outputs)
   self.inputsize, self.outputsize = inputs, outputs
   self.allcolumns = torch.range(1, outputs)
   self:resetPartition()
   self.network = nn.Sequential():add(nn.ParallelTable():add(nn.Identity()):add(nn.LookupTable(outputs, inputs)))
      :add(nn.MM(false, true))
   if bias == nil or bias then self.bias, self.gradBias = torch.zeros(1, outputs), torch.zeros(1, outputs) end
   self:reset()
end)
function Partial:resetPartition() self.partition = self.allcolumns end
function Partial:setPartition(indices)
   self.partition = indices:type(self.allcolumns:type())
end
function Partial:parameters()
   local lookup = self.network:get(1):get(2)
   return {lookup.weight, self.bias}, {lookup.gradWeight, self.gradBias}
end

local Kmeans = class('Kmeans', nil, function(self, count, size, scale)
   need('Kmeans', count, size)
   self.k, self.dim, self.scale = count, size, scale
   self.weight, self.gradWeight = torch.Tensor(count, size), torch.Tensor(count, size)
   self.loss, self.clusterSampleCount = 0, torch.zeros(count)
   self:reset()
end)
function Kmeans:reset() self.weight:uniform(-1, 1) end

local Index = class('IndexLinear', nil, function(self, inputs, outputs, do_grad, keys, weight, bias, normalize)
   if normalize and normalize ~= 0 then error(P.where() .. 'nn.IndexLinear with normalize isn\'t implemented', 0) end
   if weight then error(P.where() .. 'nn.IndexLinear with a weight of its own isn\'t implemented', 0) end
   need('IndexLinear', inputs, outputs)
   self.normalize, self.offset, self.weightDecay = 0, (keys or 0) - 1, 0
   self.doGradInput = do_grad or false
   self.inputSize, self.outputSize = inputs, outputs
   self.weight = torch.Tensor(inputs, outputs)
   self.bias, self.gradBias = torch.zeros(outputs), torch.zeros(outputs)
   self.gradWeight, self.gradWeightBuffer, self.valuesBuffer, self.normalizedValues = torch.Tensor(), torch.Tensor(), torch.Tensor(), torch.Tensor()
   self.running = {keys = {}, gradWeight = {}, counter = 1, cumSumSizes = {}}
   self.sizesCache, self.cumSumSizesCache = {}, {}
   self:reset()
end)
function Index:reset(deviation)
   draw(self.weight, deviation and deviation * sqrt(3) or 1 / sqrt(self.weight:size(1)))
   self.bias:zero()
end
function Index:parameters() return {self.weight, self.bias}, {self.running, self.gradBias} end

local Row = class('TemporalRowConvolution', nil, function(self, inputs, kW, dW, feature_first)
   need('TemporalRowConvolution', inputs, kW)
   self.inputFrameSize, self.kW, self.dW, self.featFirst = inputs, kW, dW or 1, feature_first or false
   self.weight, self.gradWeight = torch.Tensor(inputs, 1, kW), torch.Tensor(inputs, 1, kW)
   self.bias, self.gradBias = torch.Tensor(inputs), torch.Tensor(inputs)
   self:reset()
end)
Row.reset, Row.noBias = P.drawn_with(function(self) return self.kW * self.inputFrameSize end), P.no_bias
class('FeatureLPPooling', nil, function(self, width, stride, power, batch)
   self.width, self.stride, self.power, self.batch_mode = width, stride, power, batch
   if width < 2 or stride < 1 or power < 1 then error(P.where() .. 'nn.FeatureLPPooling: width must be at least 2, stride and power 1', 0) end
end)
local Fractional = class('VolumetricFractionalMaxPooling', nil, function(self, poolT, poolW, poolH, first, second, third)
   need('VolumetricFractionalMaxPooling', poolT, poolW, poolH, first, second, third)
   if poolT < 2 or poolW < 2 or poolH < 2 then error(P.where() .. 'poolSizeT, poolSizeW and poolSizeH must be at least 2', 0) end
   self.poolSizeT, self.poolSizeW, self.poolSizeH, self.newRandomPool = poolT, poolW, poolH, false
   if first >= 1 and second >= 1 and third >= 1 then
      self.outT, self.outW, self.outH = first, second, third
   else
      if first >= 1 or second >= 1 or third >= 1 then error(P.where() .. 'reduction ratios must be below 1', 0) end
      self.ratioT, self.ratioW, self.ratioH = first, second, third
   end
end)
Fractional.fixPoolingRegions = nn.SpatialFractionalMaxPooling.fixPoolingRegions
class('UpSampling', nil, function(self, scale, mode)
   need('UpSampling', scale)
   if scale < 1 then error(P.where() .. 'scale_factor must be greater than 1', 0) end
   if floor(scale) ~= scale then error(P.where() .. 'scale_factor must be integer', 0) end
   self.scale_factor = scale
   self.mode = mode == 'linear' and 'linear' or 'nearest'
   self.inputSize, self.outputSize = torch.LongStorage(5):fill(0), torch.LongStorage(5):fill(0)
end)
class('ZipTable', nil, function(self) self.output, self.gradInput = {}, {} end)
class('ZipTableOneToMany', nil, function(self)
   self.output, self.gradInput, self.gradInputEl = {}, {}, torch.Tensor()
end)
class('CAddTensorTable', nil, function(self) self.gradInput = {} end)
