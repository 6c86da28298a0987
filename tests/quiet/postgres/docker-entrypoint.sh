#!/usr/bin/env bash
# Makes a database cluster where there is none, runs the scripts of /docker-entrypoint-initdb.d on it, starts the server.
set -Eeo pipefail
prepare() {
    mkdir -p "$PGDATA"; chmod 00700 "$PGDATA" || :
    mkdir -p /var/run/postgresql; chmod 03775 /var/run/postgresql || :
    if [ "$(id -u)" = 0 ]; then
        find "$PGDATA" \! -user postgres -exec chown postgres '{}' +
        find /var/run/postgresql \! -user postgres -exec chown postgres '{}' +
    fi
}
initialize() {
    # initdb wants a name for its uid.
    uid=$(id -u)
    if ! getent passwd "$uid" > /dev/null; then
        for wrapper in {/usr,}/lib{/*,}/libnss_wrapper.so; do
            [ -s "$wrapper" ] || continue
            NSS_WRAPPER_PASSWD=$(mktemp) NSS_WRAPPER_GROUP=$(mktemp)
            export LD_PRELOAD="$wrapper" NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
            printf 'postgres:x:%s:%s:PostgreSQL:%s:/bin/false\n' "$uid" "$(id -g)" "$PGDATA" > "$NSS_WRAPPER_PASSWD"
            printf 'postgres:x:%s:\n' "$(id -g)" > "$NSS_WRAPPER_GROUP"
            break
        done
    fi
    initdb --username=postgres --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD")
    if [[ "${LD_PRELOAD:-}" == */libnss_wrapper.so ]]; then
        rm -f "$NSS_WRAPPER_PASSWD" "$NSS_WRAPPER_GROUP"
        unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
    fi
    printf '\nhost all all all scram-sha-256\n' >> "$PGDATA/pg_hba.conf"
}
hooks() {
    for f; do
        case "$f" in
            *.sh) if [ -x "$f" ]; then echo "running $f"; "$f"; else echo "sourcing $f"; . "$f"; fi ;;
            *.sql) echo "running $f"; psql -v ON_ERROR_STOP=1 -U postgres -f "$f" ;;
            *.sql.gz) gunzip -c "$f" | psql -v ON_ERROR_STOP=1 -U postgres ;;
        esac
    done
}
if [ "$1" = postgres ]; then
    prepare
    if [ "$(id -u)" = 0 ]; then exec gosu postgres "$BASH_SOURCE" "$@"; fi
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        ls /docker-entrypoint-initdb.d/ > /dev/null
        initialize
        export PGPASSWORD="$POSTGRES_PASSWORD"
        pg_ctl -D "$PGDATA" -o "-c listen_addresses='' -p 5432" -w start
        [ "${POSTGRES_DB:-postgres}" = postgres ] || psql -U postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
        hooks /docker-entrypoint-initdb.d/*
        pg_ctl -D "$PGDATA" -m fast -w stop
        unset PGPASSWORD
    fi
fi
exec "$@"
