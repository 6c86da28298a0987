#!/bin/sh
# Settings from the environment.
set -e
ln -snf "/usr/share/zoneinfo/${TZ:-Etc/UTC}" /etc/localtime && echo "${TZ:-Etc/UTC}" > /etc/timezone
sed -i "s,^listen = .*,listen = /run/php/php.sock,; s/^;clear_env.*/clear_env = no/" /etc/php/8.2/fpm/pool.d/www.conf
sed -i "s/^memory_limit.*/memory_limit = ${PHP_MEMORY:-64M}/" /etc/php/8.2/fpm/php.ini
mkdir -p /run/php
exec "$@"
