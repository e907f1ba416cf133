package=weft-cp
units=weft-cp.service
start=weft-cp.service
user=weft-cp
