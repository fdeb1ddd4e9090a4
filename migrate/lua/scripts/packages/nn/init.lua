nn={}
