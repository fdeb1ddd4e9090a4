-- Pooling, upsampling, and local response normalization.
local P = ...
local class, need = P.nn_class, P.need_number
local error, type = error, type

local function ceil_and_floor(kind)
   function kind:ceil() self.ceil_mode = true return self end
   function kind:floor() self.ceil_mode = false return self end
   return kind
end
-- nn's maximum steps by its kernel, nn's average by 1, unless it is told otherwise
local SpatialMaxPooling = ceil_and_floor(class('SpatialMaxPooling', nil, function(self, kW, kH, dW, dH, padW, padH)
   need('SpatialMaxPooling', kW, kH)
   self.kW, self.kH = kW, kH
   self.dW, self.dH = dW or kW, dH or kH
   self.padW, self.padH = padW or 0, padH or 0
   self.ceil_mode = false
   self.indices = torch.LongTensor()
end))
local Dilated = class('SpatialDilatedMaxPooling', 'SpatialMaxPooling')
function Dilated:__init(kW, kH, dW, dH, padW, padH, dilationW, dilationH)
   nn.SpatialMaxPooling.__init(self, kW, kH, dW, dH, padW, padH)
   self.dilationW, self.dilationH = dilationW or 1, dilationH or 1
end
local Average = ceil_and_floor(class('SpatialAveragePooling', nil, function(self, kW, kH, dW, dH, padW, padH)
   need('SpatialAveragePooling', kW, kH)
   self.kW, self.kH = kW, kH
   self.dW, self.dH = dW or 1, dH or 1
   self.padW, self.padH = padW or 0, padH or 0
   self.ceil_mode, self.count_include_pad, self.divide = false, true, true
end))
function Average:setCountIncludePad() self.count_include_pad = true return self end
function Average:setCountExcludePad() self.count_include_pad = false return self end
class('SpatialAdaptiveMaxPooling', nil, function(self, W, H) self.W, self.H = W, H end)
class('SpatialAdaptiveAveragePooling', nil, function(self, W, H) self.W, self.H = W, H end)
class('SpatialLPPooling', 'Sequential', function(self, planes, p, kW, kH, dW, dH)
   self.modules = {}
   need('SpatialLPPooling', planes, p, kW, kH)
   self.kW, self.kH, self.dW, self.dH = kW, kH, dW or kW, dH or kH
   local square = p == 2
   self:add(square and nn.Square() or nn.Power(p))
   self:add(nn.SpatialAveragePooling(kW, kH, self.dW, self.dH))
   self:add(nn.MulConstant(kW * kH))
   self:add(square and nn.Sqrt() or nn.Power(1 / p))
end)
class('SpatialMaxUnpooling', nil, function(self, pooling)
   if torch.type(pooling) ~= 'nn.SpatialMaxPooling' then error(P.where() .. 'Argument must be a nn.SPatialMaxPooling module', 0) end
   if pooling.kH ~= pooling.dH or pooling.kW ~= pooling.dW then
      error(P.where() .. 'The size of pooling module\'s kernel must be equal to its stride', 0)
   end
   self.pooling = pooling
end)

class('TemporalMaxPooling', nil, function(self, kW, dW)
   need('TemporalMaxPooling', kW)
   self.kW, self.dW = kW, dW or kW
end)
class('TemporalDynamicKMaxPooling', nil, function(self, least, factor) self.minK, self.factor = least, factor or 0 end)

ceil_and_floor(class('VolumetricMaxPooling', nil, function(self, kT, kW, kH, dT, dW, dH, padT, padW, padH)
   need('VolumetricMaxPooling', kT, kW, kH)
   self.kT, self.kH, self.kW = kT, kH, kW
   self.dT, self.dH, self.dW = dT or kT, dH or kH, dW or kW
   self.padT, self.padW, self.padH = padT or 0, padW or 0, padH or 0
   self.ceil_mode = false
   self.indices = torch.LongTensor()
end))
local VolumetricDilated = class('VolumetricDilatedMaxPooling', 'VolumetricMaxPooling')
function VolumetricDilated:__init(kT, kW, kH, dT, dW, dH, padT, padW, padH, dilationT, dilationW, dilationH)
   nn.VolumetricMaxPooling.__init(self, kT, kW, kH, dT, dW, dH, padT, padW, padH)
   self.dilationT, self.dilationW, self.dilationH = dilationT or 1, dilationW or 1, dilationH or 1
end
class('VolumetricAveragePooling', nil, function(self, kT, kW, kH, dT, dW, dH)
   need('VolumetricAveragePooling', kT, kW, kH)
   self.kT, self.kH, self.kW = kT, kH, kW
   self.dT, self.dH, self.dW = dT or kT, dH or kH, dW or kW
end)
class('VolumetricMaxUnpooling', nil, function(self, pooling) self.pooling = pooling end)

local function blank() return torch.LongStorage(4):fill(0) end
class('SpatialUpSamplingNearest', nil, function(self, scale)
   need('SpatialUpSamplingNearest', scale)
   if scale < 1 then error(P.where() .. 'scale_factor must be greater than 1', 0) end
   if math.floor(scale) ~= scale then error(P.where() .. 'scale_factor must be integer', 0) end
   self.scale_factor = scale
   self.inputSize, self.outputSize = blank(), blank()
end)
class('SpatialUpSamplingBilinear', nil, function(self, scale)
   if type(scale) == 'table' then
      self.oheight, self.owidth = scale.oheight, scale.owidth
   else
      need('SpatialUpSamplingBilinear', scale)
      self.scale_factor = scale
      if math.floor(scale) ~= scale then error(P.where() .. 'scale_factor must be integer', 0) end
   end
   self.inputSize, self.outputSize = blank(), blank()
end)
class('PixelShuffle', nil, function(self, factor)
   self.upscaleFactor, self.upscaleFactorSquared = factor, factor * factor
end)
class('SpatialCrossMapLRN', nil, function(self, size, alpha, beta, k)
   need('SpatialCrossMapLRN', size)
   self.size, self.alpha, self.beta, self.k = size, alpha or 0.0001, beta or 0.75, k or 1
end)
local Fractional = class('SpatialFractionalMaxPooling', nil, function(self, poolW, poolH, first, second)
   need('SpatialFractionalMaxPooling', poolW, poolH, first, second)
   if poolW < 2 or poolH < 2 then error(P.where() .. 'poolSizeW and poolSizeH must be at least 2', 0) end
   self.poolSizeW, self.poolSizeH, self.newRandomPool = poolW, poolH, false
   if first >= 1 and second >= 1 then
      self.outW, self.outH = first, second
   else
      if first >= 1 or second >= 1 then error(P.where() .. 'reduction ratios must be below 1', 0) end
      self.ratioW, self.ratioH = first, second
   end
end)
function Fractional:fixPoolingRegions(value)
   self.newRandomPool = value == nil and true or value
   return self
end
