#!/bin/bash
# Starts the server through start.sh.
set -e
exec /usr/local/bin/start.sh jupyter notebook --ip=0.0.0.0 --port=8888 --no-browser --NotebookApp.token= \
    --NotebookApp.password= "$@"
