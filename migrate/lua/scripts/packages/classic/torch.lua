-- classic.torch: how objects of classic go into files, which are not written here.
return require 'classic'
