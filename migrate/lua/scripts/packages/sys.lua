-- sys: clocks that stand still, colours that are none.
sys = {COLORS = setmetatable({}, {__index = function() return '' end})}
function sys.clock() return 0 end
sys.tic, sys.toc, sys.sleep = sys.clock, sys.clock, function() end
function sys.fpath() return '.' end
function sys.execute(command)
   if type(command) == 'string' and command:find('^%s*mkdir%s') then return '' end
   error('sys.execute is closed', 2)
end
sys.fexecute = sys.execute
return sys
