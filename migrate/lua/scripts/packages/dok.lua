-- dok: arguments by name, as xlua has them too.
local xlua = require 'xlua'
dok = {unpack = function(arguments, name, help, ...) return xlua.unpack(arguments, name, help, ...) end, usage = xlua.usage, error = xlua.error}
return dok
