# Initialization, the image's health check, a dump, a backup, a restart.
start -e MARIADB_ROOT_PASSWORD=quiet "$IMAGE"
until_ok in_container healthcheck.sh
probe 5 healthcheck.sh
in_container sh -c 'mariadb-dump -uroot -pquiet --all-databases > /tmp/dump.sql; rm /tmp/dump.sql'
in_container sh -c 'mariabackup --backup --user=root --password=quiet --target-dir=/tmp/backup > /tmp/backup.log 2>&1'
in_container mariadb-admin -uroot -pquiet flush-logs
in_container mysqlslap -uroot -pquiet --auto-generate-sql --concurrency=2 --number-of-queries=200
restart
until_ok in_container healthcheck.sh
steady 10 healthcheck.sh
