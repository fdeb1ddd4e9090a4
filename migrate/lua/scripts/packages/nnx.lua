-- nnx: loaded by files that need its other parts; its classes are not there.
require 'nn'
nnx = {}
return nnx
