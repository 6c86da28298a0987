#!/bin/bash
# The server answers, and InnoDB is up.
set -eo pipefail
client=(mariadb --defaults-file=/var/lib/mysql/.my-healthcheck.cnf --protocol socket --skip-column-names --batch)
"${client[@]}" -e 'select 1' > /dev/null
"${client[@]}" -e "select 1 from information_schema.ENGINES WHERE engine='innodb'" > /dev/null
