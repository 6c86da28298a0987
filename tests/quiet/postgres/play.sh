# Initial scripts from a configMap, pgbench, a dump, a reload, a vacuum, a restart. On the root file system, or with
# DATA=volume on a volume.
mkdir -p "$WORK/initdb"
printf '#!/bin/bash\npsql -U postgres -c "CREATE TABLE t(i int)"\n' > "$WORK/initdb/10-table.sh"
printf 'INSERT INTO t SELECT generate_series(1,1000);\n' > "$WORK/initdb/20-rows.sql"
chmod 755 "$WORK/initdb/10-table.sh"
volume=(); [ "${DATA:-}" != volume ] || volume=(-v "quiet-$NAME:/var/lib/postgresql/data")
start -e POSTGRES_PASSWORD=quiet -e POSTGRES_DB=app "${volume[@]}" -v "$WORK/initdb:/docker-entrypoint-initdb.d:ro" "$IMAGE"
until_ok in_container pg_isready -U postgres -h 127.0.0.1
probe 5 pg_isready -U postgres -h 127.0.0.1
in_container gosu postgres pgbench -i -s 2 app
in_container gosu postgres pgbench -T 15 -c 2 app
in_container gosu postgres sh -c 'pg_dump app > /tmp/dump.sql'
in_container gosu postgres psql -c 'VACUUM FULL' -c 'SELECT pg_reload_conf()' app
restart
until_ok in_container pg_isready -U postgres -h 127.0.0.1
steady 10 pg_isready -U postgres
[ "${DATA:-}" != volume ] || AFTER="podman volume rm -f quiet-$NAME"
