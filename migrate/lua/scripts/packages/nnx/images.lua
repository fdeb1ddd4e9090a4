-- nnx's layers of images: their sizes changed, their borders and colours.
local P = ...
local class, need = P.nn_class, P.need_number
local error, ipairs, type, select, ceil, floor = error, ipairs, type, select, math.ceil, math.floor

-- arguments in order, or a table of them by name; what must be there is refused where it is not
local function arguments(layer, names, needed, ...)
   local given, first = {}, (...)
   if type(first) == 'table' and not torch.typename(first) then
      for _, name in ipairs(names) do given[name] = first[name] end
   else
      for i, name in ipairs(names) do given[name] = (select(i, ...)) end
   end
   for _, name in ipairs(needed) do
      if given[name] == nil then error(P.where() .. 'nn.' .. layer .. ': missing argument: ' .. name, 0) end
   end
   return given
end
local function image_dimensions(self, y, x)
   self.yDim, self.xDim = y or 2, x or 3
   if self.yDim + 1 ~= self.xDim then error(P.where() .. torch.type(self) .. ': yDim must be equals to xDim-1', 0) end
end
local function blank() return torch.LongStorage(4):fill(0) end
local function sized(self, given)
   self.rwidth, self.rheight, self.owidth, self.oheight = given.rwidth, given.rheight, given.owidth, given.oheight
   if not (self.rwidth or self.owidth) or not (self.rheight or self.oheight) then
      error(P.where() .. torch.type(self) .. ': either of the ratio or the size of the output must be given', 0)
   end
end

class('SpatialUpSampling', nil, function(self, ...)
   local given = arguments('SpatialUpSampling', {'dW', 'dH', 'yDim', 'xDim'}, {'dW', 'dH'}, ...)
   self.usage, self.dW, self.dH = {}, given.dW, given.dH
   image_dimensions(self, given.yDim, given.xDim)
   self.inputSize, self.outputSize = blank(), blank()
end)
class('SpatialDownSampling', nil, function(self, ...)
   local given = arguments('SpatialDownSampling', {'rW', 'rH'}, {'rW', 'rH'}, ...)
   self.usage, self.rW, self.rH = {}, given.rW, given.rH
end)
class('SpatialReSampling', nil, function(self, ...)
   self.usage = {}
   sized(self, arguments('SpatialReSampling', {'rwidth', 'rheight', 'owidth', 'oheight'}, {}, ...))
end)
local modes = {simple = 0, average = 1, bilinear = 2}
class('SpatialReSamplingEx', nil, function(self, ...)
   local given = arguments('SpatialReSamplingEx', {'rwidth', 'rheight', 'owidth', 'oheight', 'mode', 'yDim', 'xDim'}, {}, ...)
   self.usage = {}
   sized(self, given)
   image_dimensions(self, given.yDim, given.xDim)
   self.mode = given.mode or 'simple'
   self.mode_c = modes[self.mode] or error(P.where() .. 'SpatialReSampling: mode must be simple | average | bilinear', 0)
   self.inputSize, self.outputSize = blank(), blank()
end)
class('SpatialMaxSampling', nil, function(self, ...)
   local given = arguments('SpatialMaxSampling', {'owidth', 'oheight'}, {'owidth', 'oheight'}, ...)
   self.usage, self.owidth, self.oheight, self.indices = {}, given.owidth, given.oheight, torch.Tensor()
end)
class('SpatialPadding', nil, function(self, left, right, top, bottom, y, x, value)
   self.pad_l = left
   self.pad_r, self.pad_t, self.pad_b = right or left, top or left, bottom or left
   self.y_dim, self.x_dim, self.val = y or 2, x or 3, value or 0
end)

local weights = {
   rgb2yuv = {{0.299, 0.587, 0.114}, {-0.14713, -0.28886, 0.436}, {0.615, -0.51499, -0.10001}},
   yuv2rgb = {{1, 0, 1.13983}, {1, -0.39465, -0.5806}, {1, 2.03211, 0}},
   rgb2y = {{0.299, 0.587, 0.114}},
}
local by_functions = {}
for _, name in ipairs{'hsl2rgb', 'hsv2rgb', 'rgb2hsl', 'rgb2hsv', 'rgb2nrgb', 'rgb2y+nrgb'} do by_functions[name] = true end
class('SpatialColorTransform', nil, function(self, transform)
   self.transform, self.usage = transform, ''
   self.islinear = weights[transform] ~= nil
   if not self.islinear and not by_functions[transform] then error(P.where() .. '<nn.SpatialColorTransform> transform required', 0) end
   if not self.islinear then return end
   self.linear = nn.SpatialLinear(3, #weights[transform])
   self.linear.bias:zero()
   self.linear.weight:copy(torch.Tensor(weights[transform]))
end)
class('SpatialGraph', nil, function(self, ...)
   local given = arguments('SpatialGraph', {'dist', 'normalize', 'connex'}, {}, ...)
   if next(given) == nil then error(P.where() .. 'nn.SpatialGraph: arguments are needed', 0) end
   local distance = given.dist or 'euclid'
   if distance ~= 'euclid' and distance ~= 'cosine' then error(P.where() .. 'nn.SpatialGraph: dist must be euclid | cosine', 0) end
   self.usage, self.dist = {}, distance == 'cosine' and 1 or 0
   self.normalize = given.normalize == false and 0 or 1
   self.connex = given.connex or 4
   if self.connex ~= 4 then error(P.where() .. 'nn.SpatialGraph: 4 is the only connexity supported', 0) end
end)

-- subtracts a weighted mean over all planes and divides by a deviation; what came before SpatialContrastiveNormalization
class('SpatialNormalization', nil, function(self, planes, kernel, threshold)
   if not torch.isTensor(kernel) or kernel:dim() ~= 2 then
      error(P.where() .. 'nn.SpatialNormalization without a kernel of two dimensions isn\'t implemented', 0)
   end
   self.nfeatures, self.kernel, self.fixedThres = planes, kernel, threshold
   local height, width = kernel:size(1), kernel:size(2)
   self.padH, self.padW = floor(height / 2), floor(width / 2)
   self.kerWisPair, self.kerHisPair = width % 2 == 0 and 1 or 0, height % 2 == 0 and 1 or 0
   self.pad2H, self.pad2W, self.ker2WisPair, self.ker2HisPair = 0, 0, 0, 0
   if self.kerWisPair ~= 0 or self.kerHisPair ~= 0 then
      error(P.where() .. 'nn.SpatialNormalization with a kernel of even size isn\'t implemented', 0)
   end
   kernel:div(kernel:sum())
   local connections = nn.tables.oneToOne(planes)
   local function mean()
      local net = nn.Sequential():add(nn.SpatialPadding(self.padW, self.padW, self.padH, self.padH))
      local along = nn.SpatialConvolutionMap(connections, width, height)
      for i = 1, planes do along.weight[i]:copy(kernel) end
      along.bias:zero()
      return net:add(along):add(nn.Sum(1)):add(nn.Replicate(planes))
   end
   self.convo, self.convostd = mean(), mean()
   self.squareMod, self.sqrtMod, self.subtractMod = nn.Square(), nn.Sqrt(), nn.CSubTable()
   self.meanDiviseMod, self.stdDiviseMod, self.diviseMod = nn.CDivTable(), nn.CDivTable(), nn.CDivTable()
   self.thresMod = nn.Threshold()
   self.coef = torch.zeros(1, 1)
   for _, name in ipairs{'inConvo', 'inMean', 'inputZeroMean', 'inputZeroMeanSq', 'inConvoVar', 'inVar', 'inStdDev', 'thstd'} do
      self[name] = torch.Tensor()
   end
end)

-- an image at several scales, each through a network of its own
local Pyramid = class('SpatialPyramid', nil, function(self, ratios, processors, kW, kH, dW, dH, x_in, y_in, x_out, y_out, prescaled)
   if #ratios ~= #processors then error(P.where() .. '<nn.SpatialPyramid> as many ratios as processors are expected', 0) end
   self.ratios, self.processors, self.prescaled_input = ratios, processors, prescaled or false
   self.kW, self.kH, self.dW, self.dH = kW, kH, dW, dH
   self.focused, self.x, self.y, self.wFocus, self.hFocus = false, 0, 0, 0, 0
   x_in, y_in, x_out, y_out = x_in or 3, y_in or 2, x_out or 3, y_out or 2
   local function scaled(ratio, mode, y, x)
      return nn.SpatialReSamplingEx{rwidth = ratio, rheight = ratio, xDim = x, yDim = y, mode = mode}
   end
   self.focused_pipeline = nn.ConcatTable()
   for i, processor in ipairs(processors) do
      self.focused_pipeline:add(nn.Sequential():add(nn.SpatialPadding(0, 0, 0, 0, y_in, x_in))
         :add(scaled(1 / ratios[i], 'average', y_in, x_in)):add(processor))
   end
   self.unfocused_pipeline = prescaled and nn.ParallelTable() or nn.ConcatTable()
   local width, height = kW - dW, kH - dH
   for i, processor in ipairs(processors) do
      local net = nn.Sequential()
      if not prescaled then
         net:add(scaled(1 / ratios[i], 'average', y_in, x_in))
         net:add(nn.SpatialPadding(floor(width / 2), ceil(width / 2), floor(height / 2), ceil(height / 2), y_in, x_in))
      end
      net:add(processor):add(scaled(ratios[i], 'simple', y_out, x_out))
      self.unfocused_pipeline:add(net)
   end
end)
function Pyramid:parameters()
   local parameters, gradients = {}, {}
   for _, processor in ipairs(self.processors) do
      local p, g = processor:parameters()
      for i = 1, #(p or {}) do
         parameters[#parameters + 1], gradients[#gradients + 1] = p[i], g[i]
      end
   end
   return parameters, gradients
end
