-- dpnn, as far as definitions use its methods; its classes are not there.
require 'nn'
dpnn = {}
return dpnn
