#!/bin/sh
# Sets the number of workers to that of the processors.
set -eu
touch /etc/nginx/nginx.conf 2>/dev/null || exit 0
ncpu=$(nproc)
sed -i.bak -r 's/^(\s*)(worker_processes\s).*$/# \1\2/w /dev/null' /etc/nginx/nginx.conf || exit 0
rm -f /etc/nginx/nginx.conf.bak
sed -i -r "s/^# (\s*)(worker_processes\s).*$/\1\2$ncpu;/" /etc/nginx/nginx.conf
