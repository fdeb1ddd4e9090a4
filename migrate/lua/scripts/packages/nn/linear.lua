-- Linear maps, look-up tables, normalization, and parameters element by element.
local P = ...
local class, fields, need = P.nn_class, P.module_fields, P.need_number
local type, select, ipairs, error, sqrt = type, select, ipairs, error, math.sqrt

local draw, no_bias, drawn_with = P.draw, P.no_bias, P.drawn_with

local Linear = class('Linear', nil, function(self, inputs, outputs, bias)
   need('Linear', inputs, outputs)
   self.weight, self.gradWeight = torch.Tensor(outputs, inputs), torch.Tensor(outputs, inputs)
   if bias ~= false then self.bias, self.gradBias = torch.Tensor(outputs), torch.Tensor(outputs) end
   self:reset()
end)
Linear.reset = drawn_with(function(self) return self.weight:size(2) end)
Linear.noBias = no_bias
function Linear:__tostring__()
   return torch.type(self) .. ('(%d -> %d)'):format(self.weight:size(2), self.weight:size(1)) .. (self.bias and '' or ' without bias')
end

local LinearWeightNorm = class('LinearWeightNorm', 'Linear', function(self, inputs, outputs, bias, eps)
   need('LinearWeightNorm', inputs, outputs)
   self.inputSize, self.outputSize, self.eps = inputs, outputs, eps or 1e-16
   self.v, self.gradV = torch.Tensor(outputs, inputs), torch.Tensor(outputs, inputs)
   self.weight = torch.Tensor(outputs, inputs)
   self.g, self.gradG = torch.Tensor(outputs, 1), torch.Tensor(outputs, 1)
   self.norm, self.scale = torch.Tensor(outputs, 1), torch.Tensor(outputs, 1)
   if bias ~= false then self.bias, self.gradBias = torch.Tensor(outputs), torch.Tensor(outputs) end
   self:reset()
end)
function LinearWeightNorm:reset(deviation)
   local bound = deviation and deviation * sqrt(3) or 1 / sqrt(self.inputSize)
   draw(self.weight, bound)
   -- g is the norm of each row, and v the rows
   self.g:norm(self.weight, 2, 2)
   self.v:copy(self.weight)
   if self.bias then draw(self.bias, bound) end
   return self
end
function LinearWeightNorm:parameters()
   if self.bias then return {self.v, self.g, self.bias}, {self.gradV, self.gradG, self.gradBias} end
   return {self.v, self.g}, {self.gradV, self.gradG}
end

local Bilinear = class('Bilinear', nil, function(self, first, second, outputs, bias)
   need('Bilinear', first, second, outputs)
   self.weight, self.gradWeight = torch.Tensor(outputs, first, second), torch.Tensor(outputs, first, second)
   if bias ~= false then self.bias, self.gradBias = torch.Tensor(outputs), torch.Tensor(outputs) end
   self.gradInput = {torch.Tensor(), torch.Tensor()}
   self:reset()
end)
Bilinear.reset = drawn_with(function(self) return self.weight:size(2) end)

local Add = class('Add', nil, function(self, size, scalar)
   if scalar then size = 1 end
   need('Add', size)
   self.scalar = scalar
   self.bias, self.gradBias = torch.Tensor(size), torch.Tensor(size)
   self._ones = torch.Tensor{1}
   self:reset()
end)
function Add:reset(deviation)
   draw(self.bias, deviation and deviation * sqrt(3) or 1 / sqrt(self.bias:size(1)))
end
local Mul = class('Mul', nil, function(self)
   self.weight, self.gradWeight = torch.Tensor(1), torch.Tensor(1)
   self:reset()
end)
function Mul:reset(deviation) draw(self.weight, deviation and deviation * sqrt(3) or 1) end

local function size_of(first, ...)
   if torch.type(first) == 'torch.LongStorage' then return first end
   return torch.LongStorage{first, ...}
end
local CMul = class('CMul', nil, function(self, ...)
   self.size = size_of(...)
   self.weight, self.gradWeight = torch.Tensor(self.size), torch.Tensor(self.size)
   self.output:resize(self.size)
   self:reset()
end)
function CMul:reset(deviation)
   draw(self.weight, deviation and deviation * sqrt(3) or 1 / sqrt(self.weight:nElement()))
end
local CAdd = class('CAdd', nil, function(self, ...)
   self.size = size_of(...)
   self.bias, self.gradBias = torch.Tensor(self.size), torch.Tensor(self.size)
   self.output:resize(self.size)
   self:reset()
end)
function CAdd:reset(deviation)
   draw(self.bias, deviation and deviation * sqrt(3) or 1 / sqrt(self.bias:nElement()))
end

local Euclidean = class('Euclidean', nil, function(self, inputs, outputs)
   need('Euclidean', inputs, outputs)
   self.weight, self.gradWeight = torch.Tensor(inputs, outputs), torch.Tensor(inputs, outputs)
   self.gradInput:resize(inputs)
   self.output:resize(outputs)
   self.fastBackward = true
   self:reset()
end)
Euclidean.reset = drawn_with(function(self) return self.weight:size(1) end)
local WeightedEuclidean = class('WeightedEuclidean', nil, function(self, inputs, outputs)
   need('WeightedEuclidean', inputs, outputs)
   self.weight, self.gradWeight = torch.Tensor(inputs, outputs), torch.Tensor(inputs, outputs)
   self.diagCov, self.gradDiagCov = torch.Tensor(inputs, outputs), torch.Tensor(inputs, outputs)
   self:reset()
end)
function WeightedEuclidean:reset(deviation)
   draw(self.weight, deviation and deviation * sqrt(3) or 1 / sqrt(self.weight:size(1)))
   self.diagCov:fill(1)
end
function WeightedEuclidean:parameters() return {self.weight, self.diagCov}, {self.gradWeight, self.gradDiagCov} end
local Cosine = class('Cosine', nil, function(self, inputs, outputs)
   need('Cosine', inputs, outputs)
   self.weight, self.gradWeight = torch.Tensor(outputs, inputs), torch.Tensor(outputs, inputs)
   self:reset()
end)
Cosine.reset = drawn_with(function(self) return self.weight:size(1) end)

class('Maxout', 'Sequential', function(self, inputs, outputs, units, init_clone)
   self.modules = {}
   if init_clone then error(P.where() .. 'nn.Maxout with preprocess isn\'t implemented', 0) end
   self:add(nn.Linear(inputs, outputs * units)):add(nn.View(units, outputs):setNumInputDims(1)):add(nn.Max(1, 2))
end)

local SparseLinear = class('SparseLinear', nil, function(self, inputs, outputs, do_grad)
   need('SparseLinear', inputs, outputs)
   self.weightDecay, self.sparseUpdate = 0, 0
   self.doGradInput = do_grad or false
   self.weight, self.gradWeight = torch.Tensor(outputs, inputs), torch.Tensor(outputs, inputs):zero()
   self.bias, self.gradBias = torch.Tensor(outputs), torch.Tensor(outputs):zero()
   self.gradInput = {}
   self.output:resize(outputs)
   self:reset()
end)
function SparseLinear:reset(deviation)
   local bound = deviation and deviation * sqrt(3) or 1 / sqrt(self.weight:size(2))
   draw(self.weight, bound)
   draw(self.bias, bound):mul(0.000001)
end

local LookupTable = class('LookupTable', nil, function(self, count, size, padding, norm, norm_type)
   need('LookupTable', count, size)
   self.weight, self.gradWeight = torch.Tensor(count, size), torch.Tensor(count, size):zero()
   self.paddingValue = padding or 0
   self.maxNorm = norm
   self.normType = norm_type
   self:reset()
end)
function LookupTable:reset(deviation) self.weight:normal(0, deviation or 1) end
function LookupTable:setMaxNorm(norm) self.maxNorm = norm end
function LookupTable:setNormType(kind) self.normType = kind end
function LookupTable:setPadding(value) self.paddingValue = value return self end

local BatchNormalization = class('BatchNormalization', nil, function(self, count, eps, momentum, affine)
   need('BatchNormalization', count)
   if count == 0 then error(P.where() .. 'To set affine=false call BatchNormalization(nOutput,  eps, momentum, false) ', 0) end
   self.affine = affine == nil and true or affine
   self.eps, self.train, self.momentum = eps or 1e-5, true, momentum or 0.1
   self.running_mean, self.running_var = torch.zeros(count), torch.ones(count)
   if self.affine then
      self.weight, self.gradWeight = torch.Tensor(count), torch.Tensor(count)
      self.bias, self.gradBias = torch.Tensor(count), torch.Tensor(count)
   end
   self:reset()
end)
function BatchNormalization:reset()
   if self.weight then self.weight:uniform() end
   if self.bias then self.bias:zero() end
   self.running_mean:zero()
   self.running_var:fill(1)
end
-- the dimensions of an input
BatchNormalization.nDim = 2
class('SpatialBatchNormalization', 'BatchNormalization').nDim = 4
class('VolumetricBatchNormalization', 'BatchNormalization').nDim = 5

class('LayerNormalization', 'Sequential', function(self, size, bias, eps, affine)
   self.modules = {}
   local factor = sqrt(size)
   local mean = nn.Sequential():add(nn.Mean(1, 1)):add(nn.Replicate(size, 1, 1))
   self:add(nn.ConcatTable():add(nn.Identity()):add(mean)):add(nn.CSubTable()):add(nn.Normalize(2, eps or 1e-10))
   self:add(nn.MulConstant(factor))
   if affine == nil or affine then
      local scale = nn.CMul(size)
      scale.weight:fill(1)
      self:add(scale)
      local shift = nn.Add(size, false)
      shift.bias:fill(bias or 0)
      self:add(shift)
   end
end)
class('Normalize', nil, function(self, p, eps)
   if type(p) ~= 'number' then error(P.where() .. 'p-norm not provided', 0) end
   if p <= 0 then error(P.where() .. p .. '-norm not supported', 0) end
   self.p, self.eps = p, eps or 1e-10
end)
