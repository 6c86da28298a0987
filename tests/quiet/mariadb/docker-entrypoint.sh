#!/bin/bash
# Installs the system tables, sets the passwords through a temporary server, starts the server.
set -eo pipefail
if [ "$1" = mariadbd ] && [ "$(id -u)" = 0 ]; then
    find /var/lib/mysql \! -user mysql -exec chown mysql: '{}' +
    find /run/mysqld -maxdepth 0 \! -user mysql -exec chown mysql: '{}' +
    exec gosu mysql "$BASH_SOURCE" "$@"
fi
if [ "$1" = mariadbd ] && [ ! -d /var/lib/mysql/mysql ]; then
    mariadb-install-db --datadir=/var/lib/mysql --rpm --auth-root-authentication-method=normal --skip-test-db
    "$@" --skip-networking --default-time-zone=SYSTEM --socket=/run/mysqld/mysqld.sock &
    server=$!
    for _ in $(seq 60); do mariadb -uroot --protocol=socket -e 'SELECT 1' > /dev/null 2>&1 && break; sleep 1; done
    mariadb-tzinfo-to-sql /usr/share/zoneinfo 2> /dev/null | mariadb -uroot mysql || :
    health=$(pwgen --numerals --capitalize --symbols --remove-chars="'\\" -1 32)
    mariadb -uroot mysql <<S
CREATE USER 'healthcheck'@'localhost' IDENTIFIED BY '$health';
GRANT USAGE ON *.* TO 'healthcheck'@'localhost';
CREATE DATABASE IF NOT EXISTS \`${MARIADB_DATABASE:-app}\`;
CREATE USER 'app'@'%' IDENTIFIED BY '${MARIADB_PASSWORD:-quiet}';
GRANT ALL ON \`${MARIADB_DATABASE:-app}\`.* TO 'app'@'%';
ALTER USER 'root'@'localhost' IDENTIFIED BY '${MARIADB_ROOT_PASSWORD}';
S
    (umask 077; printf '[mariadb-client]\nport=3306\nsocket=/run/mysqld/mysqld.sock\nuser=healthcheck\npassword=%s\n' "$health" \
        > /var/lib/mysql/.my-healthcheck.cnf)
    for f in /docker-entrypoint-initdb.d/*; do
        case "$f" in
            *.sh) if [ -x "$f" ]; then "$f"; else . "$f"; fi ;;
            *.sql) mariadb -uroot -p"$MARIADB_ROOT_PASSWORD" "${MARIADB_DATABASE:-app}" < "$f" ;;
        esac
    done
    kill "$server"; wait "$server"
fi
exec "$@"
