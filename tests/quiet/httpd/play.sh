# Requests, a graceful restart, a rotation of logs, a restart.
start "$IMAGE"
until_ok in_container curl -fsS http://127.0.0.1/
probe 5 curl -fsS http://127.0.0.1/
in_container apachectl configtest
in_container apachectl graceful
in_container sh -c 'mv /var/log/apache2/access.log /var/log/apache2/access.log.1; kill -USR1 1; gzip /var/log/apache2/access.log.1'
in_container sh -c 'for i in $(seq 200); do curl -fsS http://127.0.0.1/ > /dev/null; done'
restart
until_ok in_container curl -fsS http://127.0.0.1/
steady 10 curl -fsS http://127.0.0.1/
