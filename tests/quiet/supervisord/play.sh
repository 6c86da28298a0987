# nginx, php-fpm with a cache of files, cron, logrotate.
start -e TZ=Europe/Paris "$IMAGE"
until_ok in_container curl -fsS -o /dev/null http://127.0.0.1/
probe 5 curl -fsS -o /dev/null http://127.0.0.1/
in_container sh -c 'for i in $(seq 500); do curl -fsS -o /dev/null http://127.0.0.1/$i; done'
in_container supervisorctl restart nginx
in_container supervisorctl status
restart
until_ok in_container curl -fsS -o /dev/null http://127.0.0.1/
steady 2 curl -fsS -o /dev/null http://127.0.0.1/
