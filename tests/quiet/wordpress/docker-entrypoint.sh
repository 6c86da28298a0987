#!/usr/bin/env bash
# Copies WordPress into an empty volume, and writes its configuration.
set -Eeuo pipefail
if [[ "$1" == apache2* ]]; then
    uid=$(id -u); user=www-data group=www-data
    if [ ! -e index.php ] && [ ! -e wp-includes/version.php ]; then
        [ "$uid" != 0 ] || [ "$(stat -c '%u:%g' .)" != 0:0 ] || chown "$user:$group" .
        archive=(--create --file - --directory /usr/src/wordpress --owner "$user" --group "$group")
        extract=(--extract --file -)
        tar "${archive[@]}" . | tar "${extract[@]}"
        echo "WordPress has been copied to $PWD"
    fi
    if [ ! -s wp-config.php ]; then
        awk '/put your unique phrase here/ {
                cmd = "head -c1m /dev/urandom | sha1sum | cut -d\\  -f1"; cmd | getline str; close(cmd)
                gsub("put your unique phrase here", str) } { print }' \
            /usr/src/wordpress/wp-config-docker.php > wp-config.php
        [ "$uid" != 0 ] || chown "$user:$group" wp-config.php || true
    fi
fi
exec "$@"
