package=weft-agent
units="weft-redirect.service weft-agent.service"
start=weft-agent.service
user=weft-proxy
