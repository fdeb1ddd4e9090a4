require 'nn'
require 'cutorch'
cunn = {}
return cunn
