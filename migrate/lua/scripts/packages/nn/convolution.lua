-- Convolutions and paddings.
local P = ...
local class, need, draw, no_bias = P.nn_class, P.need_number, P.draw, P.no_bias
local sqrt, error, ipairs = math.sqrt, error, ipairs

local function filled(self, outputs, ...)
   self.weight, self.gradWeight = torch.Tensor(...), torch.Tensor(...)
   self.bias, self.gradBias = torch.Tensor(outputs), torch.Tensor(outputs)
end
-- the bound from how many numbers one output is made of
local function drawn_with(inputs_of)
   return function(self, deviation)
      local bound = deviation and deviation * sqrt(3) or 1 / sqrt(inputs_of(self))
      draw(self.weight, bound)
      if self.bias then draw(self.bias, bound) end
   end
end
local function of_plane(self) return self.kW * self.kH * self.nInputPlane end

local function spatial(self, inputs, outputs, kW, kH, dW, dH, padW, padH)
   need('SpatialConvolution', inputs, outputs, kW, kH)
   self.nInputPlane, self.nOutputPlane, self.kW, self.kH = inputs, outputs, kW, kH
   self.dW, self.dH = dW or 1, dH or 1
   self.padW = padW or 0
   self.padH = padH or self.padW
end
local SpatialConvolution = class('SpatialConvolution', nil, function(self, inputs, outputs, kW, kH, ...)
   spatial(self, inputs, outputs, kW, kH, ...)
   filled(self, outputs, outputs, inputs, kH, kW)
   self:reset()
end)
SpatialConvolution.reset, SpatialConvolution.noBias = drawn_with(of_plane), no_bias
function SpatialConvolution:__tostring__()
   local s = ('%s(%d -> %d, %dx%d'):format(torch.type(self), self.nInputPlane, self.nOutputPlane, self.kW, self.kH)
   if self.dW ~= 1 or self.dH ~= 1 or self.padW ~= 0 or self.padH ~= 0 then s = s .. (', %d,%d'):format(self.dW, self.dH) end
   if self.padW ~= 0 or self.padH ~= 0 then s = s .. ', ' .. self.padW .. ',' .. self.padH end
   return s .. ')' .. (self.bias and '' or ' without bias')
end
local MM = class('SpatialConvolutionMM', nil, function(self, inputs, outputs, kW, kH, ...)
   spatial(self, inputs, outputs, kW, kH, ...)
   filled(self, outputs, outputs, inputs * kH * kW)
   self:reset()
end)
MM.reset = SpatialConvolution.reset
local Local = class('SpatialConvolutionLocal', nil, function(self, inputs, outputs, iW, iH, kW, kH, ...)
   need('SpatialConvolutionLocal', inputs, outputs, iW, iH, kW, kH)
   spatial(self, inputs, outputs, kW, kH, ...)
   self.iW, self.iH = iW, iH
   self.oW = math.floor((2 * self.padW + iW - kW) / self.dW) + 1
   self.oH = math.floor((2 * self.padH + iH - kH) / self.dH) + 1
   if self.oW < 1 or self.oH < 1 then error(P.where() .. 'illegal configuration: output width or height less than 1', 0) end
   self.weight, self.gradWeight = torch.Tensor(self.oH, self.oW, outputs, inputs, kH, kW), torch.Tensor(self.oH, self.oW, outputs, inputs, kH, kW)
   self.bias, self.gradBias = torch.Tensor(outputs, self.oH, self.oW), torch.Tensor(outputs, self.oH, self.oW)
   self:reset()
end)
Local.reset = SpatialConvolution.reset
local Dilated = class('SpatialDilatedConvolution', 'SpatialConvolution')
function Dilated:__init(inputs, outputs, kW, kH, dW, dH, padW, padH, dilationW, dilationH)
   nn.SpatialConvolution.__init(self, inputs, outputs, kW, kH, dW, dH, padW, padH)
   self.dilationW = dilationW or 1
   self.dilationH = dilationH or self.dilationW
end
local Full = class('SpatialFullConvolution', nil, function(self, inputs, outputs, kW, kH, dW, dH, padW, padH, adjW, adjH)
   if type(inputs) ~= 'number' or type(outputs) ~= 'number' then
      error(P.where() .. 'nn.SpatialFullConvolution with a connection table isn\'t implemented', 0)
   end
   spatial(self, inputs, outputs, kW, kH, dW, dH, padW, padH or 0)
   self.adjW, self.adjH = adjW or 0, adjH or 0
   if self.adjW > self.dW - 1 or self.adjH > self.dH - 1 then
      error(P.where() .. 'adjW and adjH must be smaller than self.dW - 1 and self.dH - 1 respectively', 0)
   end
   filled(self, outputs, inputs, outputs, kH, kW)
   self.ones = torch.Tensor()
   self:reset()
end)
Full.noBias = no_bias
Full.reset = SpatialConvolution.reset
local DepthWise = class('SpatialDepthWiseConvolution', nil, function(self, inputs, outputs, kW, kH, ...)
   spatial(self, inputs, outputs, kW, kH, ...)
   self.weight, self.gradWeight = torch.Tensor(outputs, inputs * kH * kW), torch.Tensor(outputs, inputs * kH * kW)
   self.bias, self.gradBias = torch.Tensor(outputs, inputs), torch.Tensor(outputs, inputs)
   self:reset()
end)
DepthWise.reset, DepthWise.noBias = drawn_with(of_plane), no_bias

local function temporal(name, init)
   return class(name, nil, init)
end
local Temporal = temporal('TemporalConvolution', function(self, inputs, outputs, kW, dW)
   need('TemporalConvolution', inputs, outputs, kW)
   self.inputFrameSize, self.outputFrameSize, self.kW, self.dW = inputs, outputs, kW, dW or 1
   filled(self, outputs, outputs, inputs * kW)
   self:reset()
end)
Temporal.reset = drawn_with(function(self) return self.kW * self.inputFrameSize end)
local TemporalSubSampling = temporal('TemporalSubSampling', function(self, inputs, kW, dW)
   need('TemporalSubSampling', inputs, kW)
   self.inputFrameSize, self.kW, self.dW = inputs, kW, dW or 1
   filled(self, inputs, inputs)
   self:reset()
end)
TemporalSubSampling.reset = drawn_with(function(self) return self.kW end)
local SubSampling = class('SpatialSubSampling', nil, function(self, planes, kW, kH, dW, dH)
   need('SpatialSubSampling', planes, kW, kH)
   self.nInputPlane, self.kW, self.kH, self.dW, self.dH = planes, kW, kH, dW or 1, dH or 1
   filled(self, planes, planes)
   self:reset()
end)
SubSampling.reset = drawn_with(function(self) return self.kW * self.kH end)

local function volumetric(self, inputs, outputs, kT, kW, kH, dT, dW, dH, padT, padW, padH)
   need('VolumetricConvolution', inputs, outputs, kT, kW, kH)
   self.nInputPlane, self.nOutputPlane, self.kT, self.kW, self.kH = inputs, outputs, kT, kW, kH
   self.dT, self.dW, self.dH = dT or 1, dW or 1, dH or 1
   self.padT = padT or 0
   self.padW = padW or self.padT
   self.padH = padH or self.padW
end
local function of_volume(self) return self.kT * self.kW * self.kH * self.nInputPlane end
local Volumetric = class('VolumetricConvolution', nil, function(self, inputs, outputs, kT, kW, kH, ...)
   volumetric(self, inputs, outputs, kT, kW, kH, ...)
   filled(self, outputs, outputs, inputs, kT, kH, kW)
   self:reset()
end)
Volumetric.reset, Volumetric.noBias = drawn_with(of_volume), no_bias
local VolumetricFull = class('VolumetricFullConvolution', nil, function(self, inputs, outputs, kT, kW, kH, dT, dW, dH, padT, padW, padH, adjT, adjW, adjH)
   volumetric(self, inputs, outputs, kT, kW, kH, dT, dW, dH, padT or 0, padW or 0, padH or 0)
   self.adjT, self.adjW, self.adjH = adjT or 0, adjW or 0, adjH or 0
   if self.adjW > self.dW - 1 or self.adjH > self.dH - 1 or self.adjT > self.dT - 1 then
      error(P.where() .. 'adjW, adjH and adjT must be smaller than self.dW - 1, self.dH - 1 and self.dT - 1 respectively', 0)
   end
   filled(self, outputs, inputs, outputs, kT, kH, kW)
   self.ones, self.finput, self.fgradInput = torch.Tensor(), torch.Tensor(), torch.Tensor()
   self:reset()
end)
VolumetricFull.reset, VolumetricFull.noBias = drawn_with(of_volume), no_bias
local VolumetricDilated = class('VolumetricDilatedConvolution', 'VolumetricConvolution')
function VolumetricDilated:__init(inputs, outputs, kT, kW, kH, dT, dW, dH, padT, padW, padH, dilationT, dilationW, dilationH)
   nn.VolumetricConvolution.__init(self, inputs, outputs, kT, kW, kH, dT, dW, dH, padT, padW, padH)
   self.dilationT = dilationT or 1
   self.dilationW = dilationW or self.dilationT
   self.dilationH = dilationH or self.dilationW
end

for _, name in ipairs{'SpatialZeroPadding', 'SpatialReflectionPadding', 'SpatialReplicationPadding'} do
   class(name, nil, function(self, left, right, top, bottom)
      self.pad_l = left
      self.pad_r, self.pad_t, self.pad_b = right or left, top or left, bottom or left
   end)
end
class('VolumetricReplicationPadding', nil, function(self, left, right, top, bottom, front, back)
   self.pleft = left
   self.pright, self.ptop, self.pbottom = right or left, top or left, bottom or left
   self.pfront, self.pback = front or left, back or left
end)

-- connection tables of SpatialConvolutionMap
nn.tables = {}
function nn.tables.full(inputs, outputs)
   local t = torch.Tensor(inputs * outputs, 2)
   local at = 1
   for o = 1, outputs do
      for i = 1, inputs do
         t[at][1], t[at][2] = i, o
         at = at + 1
      end
   end
   return t
end
function nn.tables.oneToOne(planes)
   local t = torch.Tensor(planes, 2)
   for i = 1, planes do t[i][1], t[i][2] = i, i end
   return t
end
-- each output reads the next so many inputs of a random order, which is drawn again where it ends
function nn.tables.random(inputs, outputs, each)
   local t = torch.Tensor(outputs * each, 2)
   local order, chunks = torch.randperm(inputs), math.floor(inputs / each)
   local chunk = 0
   for o = 1, outputs do
      for k = 1, each do t[(o - 1) * each + k] = torch.Tensor{order[chunk * each + k], o} end
      chunk = chunk + 1
      if chunk == chunks then
         order, chunk = torch.randperm(inputs), 0
      end
   end
   return t
end

local function mapped(self, table_, kW, kH, dW, dH)
   need('SpatialConvolutionMap', kW, kH)
   self.kW, self.kH, self.dW, self.dH, self.connTable = kW, kH, dW or 1, dH or 1, table_
   self.nInputPlane, self.nOutputPlane = table_:select(2, 1):max(), table_:select(2, 2):max()
   self.weight, self.gradWeight = torch.Tensor(table_:size(1), kH, kW), torch.Tensor(table_:size(1), kH, kW)
   self.bias, self.gradBias = torch.Tensor(self.nOutputPlane), torch.Tensor(self.nOutputPlane)
   self:reset()
end
local function drawn_map(self, deviation)
   local inputs_of, connections = {}, self.connTable:size(1)      -- of each output
   for k = 1, connections do
      local output = self.connTable[k][2]
      inputs_of[output] = (inputs_of[output] or 0) + 1
   end
   local function bound(output) return deviation and deviation * sqrt(3) or 1 / sqrt(self.kW * self.kH * (inputs_of[output] or 0)) end
   for k = 1, connections do draw(self.weight:select(1, k), bound(self.connTable[k][2])) end
   for output = 1, self.bias:size(1) do draw(self.bias:narrow(1, output, 1), bound(output)) end
end
class('SpatialConvolutionMap', nil, mapped).reset = drawn_map
class('SpatialFullConvolutionMap', nil, mapped).reset = drawn_map
