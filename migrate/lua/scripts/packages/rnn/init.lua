-- rnn (Element-Research): written from what Torch7 recorded. Classes that aren't here are refused by name.
local P = ...
require 'nn'
require 'dpnn'
local class, need, draw = P.nn_class, P.need_number, P.draw
local error, ipairs, sqrt, type = error, ipairs, math.sqrt, type
rnn = {}

local NoBias = torch.class('nn.LinearNoBias', 'nn.Linear')
function NoBias:__init(inputs, outputs) nn.Linear.__init(self, inputs, outputs, false) end

-- rnn's own Dropout draws one mask for all steps if it is told to
local Dropout = torch.getmetatable('nn.Dropout')
function Dropout:__init(p, v1, in_place, lazy, mono)
   P.module_fields(self)
   self.p, self.train = p or 0.5, true
   self.inplace = in_place
   self.lazy, self.mono = lazy or false, mono or false
   self.flag = true
   self.v2 = not v1
   if self.p >= 1 or self.p < 0 then error(P.where() .. '<Dropout> illegal percentage, must be 0 <= p < 1', 0) end
   self.noise = torch.Tensor()
end

local Abstract = class('AbstractRecurrent', 'Container', function(self, rho)
   self.modules = {}
   self.rho = rho or 99999
   self.outputs, self.gradInputs, self.gradOutputs, self._gradOutputs = {}, {}, {}, {}
   self.step = 1
   self.sharedClones = {}
end)
function Abstract:forget() return self end
function Abstract:remember() return self end
function Abstract:backwardOnline() return self end

local function set_step(self, module)
   self.recurrentModule = module
   self.modules[1] = module
   self.sharedClones[1] = module
end
-- a step of zeros gives zeros, and stays out of the state
local function masked(name)
   return function(self, dimensions)
      set_step(self, nn[name](self.recurrentModule, dimensions))
      return self
   end
end
Abstract.maskZero, Abstract.trimZero = masked('MaskZero'), masked('TrimZero')
local Recursor = torch.class('nn.Recursor', 'nn.AbstractRecurrent')
function Recursor:__init(module, rho)
   Abstract.__init(self, rho or 9999999)
   self.module = module
   set_step(self, module)
end

-- what a Sequencer may call step by step
local function stepping(module)
   if torch.isTypeOf(module, 'nn.AbstractRecurrent') then return module end
   return nn.Recursor(module)
end
local function decorated(self, module)
   self.module = module
   self.modules = {module}
   self.output, self.gradInput = torch.Tensor(), torch.Tensor()
end
local Sequencer = class('Sequencer', 'Container', function(self, module)
   if not torch.isTypeOf(module, 'nn.Module') then
      error(P.where() .. 'Sequencer: expecting nn.Module instance at arg 1', 0)
   end
   decorated(self, stepping(module))
   self.output = {}
   self._output, self.tableoutput, self.tablegradInput = {}, {}, {}
   self._remember = 'neither'
   self.dpnn_mediumEmpty = {'output', 'gradInput', 'momGradParams', 'dpnn_input', '_output'}
end)
local modes = {both = true, eval = true, train = true, neither = true}
local function remember(self, mode)
   self._remember = mode or 'both'
   if not modes[self._remember] then error(P.where() .. 'Unrecognized value for remember : ' .. self._remember, 0) end
   return self
end
Sequencer.remember = remember
function Sequencer:forget() return self end
local Repeater = class('Repeater', 'Container', function(self, module, count)
   self.rho = count
   self.modules = {stepping(module)}
   self.module = self.modules[1]
   self.module.rho = count
   self.output = {}
end)
function Repeater:forget() return self end

local function step_fields(self, inputs, outputs, rho, p, mono)
   need(torch.type(self), inputs, outputs)
   Abstract.__init(self, rho or 9999)
   self.inputSize, self.outputSize = inputs, outputs
   self.p = p or 0
   self.mono = mono or false
   self.zeroTensor = torch.Tensor()
   self.cells, self.gradCells = {}, {}
end
local function both(first, second) return nn.ConcatTable():add(first):add(second) end
local function sequence(...)
   local made = nn.Sequential()
   for _, module in ipairs{...} do made:add(module) end
   return made
end

local function dropped(self) return nn.Dropout(self.p, false, false, true, self.mono) end
-- a map to several gates at once; with dropout each gate drops and maps by itself
local function gate_map(self, linear, inputs, count)
   if self.p == 0 then return linear(inputs, count * self.outputSize) end
   local drops, maps = nn.ConcatTable(), nn.ParallelTable()
   for _ = 1, count do drops:add(dropped(self)) end
   for _ = 1, count do maps:add(linear(inputs, self.outputSize)) end
   return sequence(drops, maps, nn.JoinTable(2))
end

-- {x, h, c} -> {h, c}
local FastLSTM = torch.class('nn.FastLSTM', 'nn.AbstractRecurrent')
FastLSTM.usenngraph = false
FastLSTM.bn = false
function FastLSTM:__init(inputs, outputs, rho, eps, momentum, affine, p, mono)
   if FastLSTM.bn or FastLSTM.usenngraph or eps or momentum then
      error(P.where() .. 'nn.FastLSTM with nngraph or batch normalization isn\'t implemented', 0)
   end
   step_fields(self, inputs, outputs, rho, p, mono)
   self.affine = affine == nil and true or affine
   self.cell2gate = true
   self.i2g = gate_map(self, nn.Linear, inputs, 4)
   self.o2g = gate_map(self, nn.LinearNoBias, outputs, 4)
   local gates = sequence(nn.NarrowTable(1, 2), nn.ParallelTable():add(self.i2g):add(self.o2g), nn.CAddTable(),
      nn.Reshape(4, outputs), nn.SplitTable(1, 2),
      nn.ParallelTable():add(nn.Sigmoid()):add(nn.Tanh()):add(nn.Sigmoid()):add(nn.Sigmoid()))
   local hidden = sequence(nn.NarrowTable(1, 2), nn.CMulTable())
   local kept = sequence(both(nn.SelectTable(3), nn.SelectTable(5)), nn.CMulTable())
   local cell = sequence(both(hidden, kept), nn.CAddTable())
   local squashed = sequence(nn.SelectTable(1), nn.Tanh())
   local out = sequence(both(squashed, nn.SelectTable(2)), nn.CMulTable())
   set_step(self, sequence(both(gates, nn.SelectTable(3)), nn.FlattenTable(), both(cell, nn.SelectTable(4)), nn.FlattenTable(),
      both(out, nn.SelectTable(1))))
end

-- {x, h, c} -> {h, c}, each gate by itself
local LSTM = torch.class('nn.LSTM', 'nn.AbstractRecurrent')
function LSTM:__init(inputs, outputs, rho, cell2gate, p, mono)
   step_fields(self, inputs, outputs, rho, p, mono)
   self.cell2gate = cell2gate == nil and true or cell2gate
   local function maps()
      return nn.ParallelTable():add(sequence(dropped(self), nn.Linear(inputs, outputs)))
         :add(sequence(dropped(self), nn.LinearNoBias(outputs, outputs)))
   end
   local function gate()
      if self.cell2gate then return sequence(maps():add(nn.CMul(outputs)), nn.CAddTable(), nn.Sigmoid()) end
      return sequence(nn.NarrowTable(1, 2), maps(), nn.CAddTable(), nn.Sigmoid())
   end
   self.inputGate = gate()
   self.forgetGate = gate()
   self.hiddenLayer = sequence(nn.NarrowTable(1, 2), maps(), nn.CAddTable(), nn.Tanh())
   local kept = sequence(both(self.forgetGate, nn.SelectTable(3)), nn.CMulTable())
   local new = sequence(both(self.inputGate, self.hiddenLayer), nn.CMulTable())
   self.cellLayer = sequence(both(kept, new), nn.CAddTable())
   self.outputGate = gate()
   local out = sequence(both(self.outputGate, sequence(nn.SelectTable(3), nn.Tanh())), nn.CMulTable())
   set_step(self, sequence(both(nn.NarrowTable(1, 2), self.cellLayer), nn.FlattenTable(), both(out, nn.SelectTable(3))))
end

local function shared_clone(module) return module:sharedClone() end
nn.Module.stepClone = nn.Module.sharedClone

-- the first step adds a start to the input, the others what the step before gave
local Recurrent = torch.class('nn.Recurrent', 'nn.AbstractRecurrent')
function Recurrent:__init(start, input, feedback, transfer, rho, merge)
   Abstract.__init(self, rho)
   if type(start) == 'number' then start = nn.Add(start) end
   self.startModule, self.inputModule, self.feedbackModule = start, input, feedback
   self.transferModule, self.mergeModule = transfer or nn.Sigmoid(), merge or nn.CAddTable()
   for _, name in ipairs{'startModule', 'inputModule', 'feedbackModule', 'transferModule', 'mergeModule'} do
      if not torch.isTypeOf(self[name], 'nn.Module') then error(P.where() .. 'nn.Recurrent: ' .. name .. ' is no nn.Module', 0) end
   end
   self.modules = {start, input, feedback, self.transferModule, self.mergeModule}
   -- the input of the first step goes through a copy that shares its parameters
   self.initialModule = sequence(shared_clone(input), start, shared_clone(self.transferModule))
   self.recurrentModule = sequence(nn.ParallelTable():add(input):add(feedback), self.mergeModule, self.transferModule)
   self.sharedClones[2] = self.recurrentModule
end

local Recurrence = torch.class('nn.Recurrence', 'nn.AbstractRecurrent')
function Recurrence:__init(module, sizes, dimensions, rho)
   Abstract.__init(self, rho or 9999)
   self.outputSize = type(sizes) == 'number' and {sizes} or sizes
   self.nInputDim, self.typeTensor = dimensions, torch.Tensor()
   self.module = module
   set_step(self, module)
end
class('CopyGrad', 'Identity')
local NormStabilizer = torch.class('nn.NormStabilizer', 'nn.AbstractRecurrent')
function NormStabilizer:__init(beta, rho)
   Abstract.__init(self, rho)
   self.beta = beta or 1
   set_step(self, nn.CopyGrad())
end

-- forward and backward in time, their steps merged
local function both_ways(self, forward, backward, merge)
   if not torch.isTypeOf(forward, 'nn.Module') then error(P.where() .. torch.type(self) .. ': expecting nn.Module instance at arg 1', 0) end
   if not backward then
      backward = forward:clone()
      backward:reset()
   end
   if merge == nil or type(merge) == 'number' then merge = nn.JoinTable(1, merge or 1) end
   self.modules = {}
   self.forwardModule, self.backwardModule, self.mergeModule = forward, backward, merge
   self.output, self.gradInput = {}, {}
end
local BiSequencer = class('BiSequencer', 'Container', function(self, ...)
   both_ways(self, ...)
   self.fwdSeq, self.bwdSeq = nn.Sequencer(self.forwardModule), nn.Sequencer(self.backwardModule)
   self.mergeSeq = nn.Sequencer(self.mergeModule)
   local back = sequence(nn.ReverseTable(), self.bwdSeq, nn.ReverseTable())
   self.module = sequence(both(self.fwdSeq, back), nn.ZipTable(), self.mergeSeq)
   self.modules[1] = self.module
end)
local function over_steps(module)
   return torch.isTypeOf(module, 'nn.AbstractRecurrent') and nn.Sequencer(module) or module
end
local BiSequencerLM = class('BiSequencerLM', 'Container', function(self, ...)
   both_ways(self, ...)
   self.fwdSeq, self.bwdSeq = over_steps(self.forwardModule), over_steps(self.backwardModule)
   self.mergeSeq = nn.Sequencer(self.mergeModule)
   self._fwd = self.fwdSeq
   self._bwd = sequence(nn.ReverseTable(), self.bwdSeq, nn.ReverseTable())
   self._merge = sequence(nn.ZipTable(), self.mergeSeq)
   self.modules = {self._fwd, self._bwd, self._merge}
end)
BiSequencer.remember, BiSequencerLM.remember = remember, remember
BiSequencer.forget, BiSequencerLM.forget = Sequencer.forget, Sequencer.forget

-- {x, h} -> h
local SAdd = torch.class('nn.SAdd', 'nn.Module')
function SAdd:__init(addend, negate)
   P.module_fields(self)
   self.addend, self.negate = addend, negate or false
end
local GRU = torch.class('nn.GRU', 'nn.AbstractRecurrent')
function GRU:__init(inputs, outputs, rho, p, mono)
   step_fields(self, inputs, outputs, rho, p, mono)
   self.i2g = gate_map(self, nn.Linear, inputs, 2)
   self.o2g = gate_map(self, nn.LinearNoBias, outputs, 2)
   local gates = sequence(nn.ParallelTable():add(self.i2g):add(self.o2g), nn.CAddTable(), nn.Reshape(2, outputs),
      nn.SplitTable(1, 2), nn.ParallelTable():add(nn.Sigmoid()):add(nn.Sigmoid()))
   local from_input, from_state = sequence(nn.SelectTable(1)), sequence(nn.NarrowTable(2, 2), nn.CMulTable())
   if self.p ~= 0 then
      from_input:add(dropped(self))
      from_state:add(dropped(self))
   end
   from_input:add(nn.Linear(inputs, outputs))
   from_state:add(nn.LinearNoBias(outputs, outputs))
   local state = sequence(both(from_input, from_state), nn.CAddTable(), nn.Tanh())
   local new = sequence(both(state, sequence(nn.SelectTable(4), nn.SAdd(-1, true))), nn.CMulTable())
   local old = sequence(nn.NarrowTable(4, 2), nn.CMulTable())
   set_step(self, sequence(both(nn.Identity(), gates), nn.FlattenTable(), both(nn.NarrowTable(1, 4), nn.SelectTable(2)),
      nn.FlattenTable(), sequence(both(new, old), nn.CAddTable())))
end

-- whole sequences in one call
local function buffers(self, names)
   for _, name in ipairs(names) do self[name] = torch.Tensor() end
end
local function filled(self)
   local bound = 1 / sqrt(self.inputsize + self.hiddensize)
   self.bias:zero()
   self.bias:narrow(1, self.outputsize + 1, self.outputsize):fill(1)   -- the forget gate stays open at first
   self.weight:normal():mul(bound)
end
local SeqLSTM = class('SeqLSTM', nil, function(self, inputs, hidden, outputs)
   need('SeqLSTM', inputs, hidden or 0)
   outputs = outputs or hidden
   if outputs ~= hidden and not torch.isTypeOf(self, 'nn.SeqLSTMP') then
      error(P.where() .. 'nn.SeqLSTM with a projection isn\'t implemented: nn.SeqLSTMP is', 0)
   end
   self.inputsize, self.hiddensize, self.outputsize = inputs, hidden, outputs
   self.weight, self.gradWeight = torch.Tensor(inputs + outputs, 4 * hidden), torch.Tensor(inputs + outputs, 4 * hidden)
   self.bias, self.gradBias = torch.Tensor(4 * hidden), torch.Tensor(4 * hidden)
   self:reset()
   buffers(self, {'cell', 'gates', 'buffer1', 'buffer2', 'buffer3', 'grad_a_buffer', 'h0', 'c0', 'grad_c0', 'grad_h0', 'grad_x'})
   self.gradInput = {self.grad_c0, self.grad_h0, self.grad_x}
   self._remember, self.batchfirst, self.maskzero = 'neither', false, false
end)
SeqLSTM.reset, SeqLSTM.remember = filled, remember
function SeqLSTM:forget() return self end
local SeqLSTMP = torch.class('nn.SeqLSTMP', 'nn.SeqLSTM')
function SeqLSTMP:__init(inputs, hidden, outputs)
   outputs = outputs or hidden
   need('SeqLSTMP', inputs, hidden, outputs)
   self.weightO, self.gradWeightO = torch.Tensor(hidden, outputs), torch.Tensor(hidden, outputs)
   SeqLSTM.__init(self, inputs, hidden, outputs)
end
function SeqLSTMP:reset()
   filled(self)
   self.weightO:normal():mul(1 / sqrt(self.outputsize + self.hiddensize))
end
function SeqLSTMP:parameters()
   return {self.weight, self.bias, self.weightO}, {self.gradWeight, self.gradBias, self.gradWeightO}
end
local SeqGRU = class('SeqGRU', nil, function(self, inputs, outputs)
   need('SeqGRU', inputs, outputs)
   self.inputSize, self.outputSize, self.seqLength, self.miniBatch = inputs, outputs, 1, 1
   self.weight, self.gradWeight = torch.Tensor(inputs + outputs, 3 * outputs), torch.Tensor(inputs + outputs, 3 * outputs)
   self.bias, self.gradBias = torch.Tensor(3 * outputs), torch.Tensor(3 * outputs)
   self:reset()
   buffers(self, {'gates', 'buffer1', 'buffer2', 'buffer3', 'grad_a_buffer', 'h0', 'grad_h0', 'grad_x'})
   self.gradInput = {self.grad_h0, self.grad_x}
   self._remember, self.batchfirst, self.maskzero = 'neither', false, false
end)
SeqGRU.remember, SeqGRU.forget = remember, SeqLSTM.forget
function SeqGRU:reset()
   self.bias:zero()
   self.bias:narrow(1, self.outputSize + 1, self.outputSize):fill(1)
   self.weight:normal():mul(1 / sqrt(self.inputSize + self.outputSize))
end

class('MaskZero', 'Container', function(self, module, dimensions)
   self.nInputDim = dimensions
   self.modules = {module}
end)
class('SeqReverseSequence', nil, function(self, dimension) self.dim = dimension end)
class('SeqBRNN', 'Container', function(self, inputs, hidden, batch_first, merge)
   self.modules = {}
   self.forwardModule, self.backwardModule = nn.SeqLSTM(inputs, hidden), nn.SeqLSTM(inputs, hidden)
   self.merge, self.dim = merge or nn.CAddTable(), 1
   local back = sequence(nn.SeqReverseSequence(1), self.backwardModule, nn.SeqReverseSequence(1))
   self.module = nn.Sequential()
   if batch_first then self.module:add(nn.Transpose({1, 2})) end
   self.module:add(nn.ConcatTable():add(self.forwardModule):add(back)):add(self.merge)
   if batch_first then self.module:add(nn.Transpose({1, 2})) end
   self.modules[1] = self.module
end)
class('TrimZero', 'MaskZero', function(self, module, dimensions)
   self.nInputDim = dimensions
   self.modules = {module}
   self.temp, self.gradTemp = torch.Tensor(), torch.Tensor()
end)
local Masked = torch.class('nn.LookupTableMaskZero', 'nn.LookupTable')
function Masked:__init(count, size) nn.LookupTable.__init(self, count + 1, size) end
P.rnn = {sequence = sequence, both = both, set_step = set_step, step_fields = step_fields, stepping = stepping}
P.part('rnn.attention')
return rnn
