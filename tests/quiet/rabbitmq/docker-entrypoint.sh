#!/bin/bash
# Gives the server its user and its cookie.
set -euo pipefail
if [[ "$1" == rabbitmq* ]] && [ "$(id -u)" = 0 ]; then
    [ "$1" != rabbitmq-server ] || find /var/lib/rabbitmq \! -user rabbitmq -exec chown rabbitmq '{}' +
    exec gosu rabbitmq "$BASH_SOURCE" "$@"
fi
if [ -n "${RABBITMQ_ERLANG_COOKIE:-}" ] && [ ! -f /var/lib/rabbitmq/.erlang.cookie ]; then
    echo "$RABBITMQ_ERLANG_COOKIE" > /var/lib/rabbitmq/.erlang.cookie
    chmod 600 /var/lib/rabbitmq/.erlang.cookie
fi
exec "$@"
