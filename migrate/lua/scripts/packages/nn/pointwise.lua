-- Layers that work element by element, and layers that drop or add noise.
local P = ...
local class = P.nn_class
local ipairs, type, error = ipairs, type, error

for _, name in ipairs{'Tanh', 'Sigmoid', 'SoftMax', 'LogSoftMax', 'SpatialSoftMax', 'SpatialLogSoftMax', 'SoftSign', 'Abs', 'Exp', 'Log', 'Square'} do
   class(name)
end
class('LogSigmoid')
class('SoftMin')
class('TanhShrink', nil, function(self) self.tanh = nn.Tanh() end)
class('Sqrt', nil, function(self, eps) self.eps = eps or 0 end)
class('Power', nil, function(self, power)
   if type(power) ~= 'number' then error(P.where() .. 'nn.Power: number expected', 0) end
   self.pow = power
end)
class('SoftPlus', nil, function(self, beta) self.beta, self.threshold = beta or 1, 20 end)
class('SoftShrink', nil, function(self, lambda) self.lambda = lambda or 0.5 end)
class('HardShrink', nil, function(self, lambda) self.lambda = lambda or 0.5 end)

local HardTanh = class('HardTanh', nil, function(self, low, high, in_place)
   self.min_val, self.max_val = low or -1, high or 1
   self.inplace = in_place or false
   if self.max_val <= self.min_val then error(P.where() .. 'max_value must be larger than min_value', 0) end
end)
class('Clamp', 'HardTanh')

local Threshold = class('Threshold', nil, function(self, threshold, value, in_place)
   self.threshold, self.val = threshold or 1e-6, value or 0
   if (threshold and type(threshold) ~= 'number') or (value and type(value) ~= 'number') then
      error(P.where() .. 'nn.Threshold(threshold, value)', 0)
   end
   self.inplace = in_place or false
   if self.inplace and self.val > self.threshold then
      error(P.where() .. 'in-place processing requires value (' .. self.val .. ') not exceed threshold (' .. self.threshold .. ')', 0)
   end
end)
class('ReLU', 'Threshold').__init = function(self, in_place) nn.Threshold.__init(self, 0, 0, in_place) end
class('ReLU6', nil, function(self, in_place)
   self.inplace = in_place or false
   if type(self.inplace) ~= 'boolean' then error(P.where() .. 'in-place flag must be boolean', 0) end
end)
class('LeakyReLU', nil, function(self, slope, in_place)
   if type(slope) == 'boolean' then slope, in_place = nil, nil end
   self.negval = slope or 1 / 100
   self.inplace = in_place or false
   if self.negval < 0 then self.inplace = false end
end)
class('ELU', nil, function(self, alpha, in_place)
   self.alpha = alpha or 1
   self.inplace = in_place or false
end)
local PReLU = class('PReLU', nil, function(self, planes)
   self.nOutputPlane = planes or 0
   local count = self.nOutputPlane == 0 and 1 or self.nOutputPlane
   self.weight, self.gradWeight = torch.Tensor(count):fill(0.25), torch.Tensor(count)
end)
function PReLU:reset() self.weight:fill(0.25) end
class('RReLU', nil, function(self, low, high, in_place)
   self.lower, self.upper = low or 1 / 8, high or 1 / 3
   self.inplace = in_place or false
   self.noise, self.train = torch.Tensor(), true
end)
class('CReLU', 'Sequential', function(self, dimensions, in_place)
   self.modules = {}
   self.nInputDims, self.inplace = dimensions, in_place or false
   self:add(nn.ConcatTable():add(nn.Identity()):add(nn.MulConstant(-1)))
   self:add(nn.JoinTable(2))
   self:add(nn.ReLU(self.inplace))
end)
class('GatedLinearUnit', nil, function(self, dimension) self.dim = dimension end)

local function constant(name)
   class(name, nil, function(self, value, in_place)
      if type(value) ~= 'number' and not (name == 'AddConstant' and torch.isTensor(value)) then error(P.where() .. 'input is not scalar!', 0) end
      self.constant_scalar = value
      self.inplace = in_place or false
   end)
end
constant('MulConstant')
constant('AddConstant')

local Dropout = class('Dropout', nil, function(self, p, v1, in_place, stochastic)
   self.p, self.train = p or 0.5, true
   self.inplace = in_place
   self.stochastic_inference = stochastic or false
   self.v2 = not v1
   if self.p >= 1 or self.p < 0 then error(P.where() .. '<Dropout> illegal percentage, must be 0 <= p < 1', 0) end
   self.noise = torch.Tensor()
end)
function Dropout:setp(p) self.p = p end
for _, name in ipairs{'SpatialDropout', 'VolumetricDropout'} do
   class(name, nil, function(self, p, stochastic)
      self.p, self.train = p or 0.5, true
      self.stochastic_inference = stochastic or false
      self.noise = torch.Tensor()
   end).setp = Dropout.setp
end
class('WhiteNoise', nil, function(self, mean, deviation)
   self.mean, self.std = mean or 0, deviation or 0.1
   self.noise = torch.Tensor()
end)
local GradientReversal = class('GradientReversal', nil, function(self, lambda) self.lambda = lambda or 1 end)
function GradientReversal:setLambda(lambda) self.lambda = lambda end
class('L1Penalty', nil, function(self, weight, average, provide)
   self.l1weight, self.sizeAverage = weight, average or false
   self.provideOutput = provide == nil and true or provide
end)
class('Identity')
class('Copy', nil, function(self, input, output)
   self.gradInput = torch.getmetatable(input).new()
   self.output = torch.getmetatable(output).new()
end)
class('Contiguous')
class('ZeroGrad')
class('OneHot', nil, function(self, size) self.outputSize = size end)
