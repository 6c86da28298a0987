#!/bin/bash
# Serves pages, and keeps a driver ready.
python3 /opt/bin/serve.py &
exec chromedriver --port=4444 --allowed-ips= --allowed-origins='*'
