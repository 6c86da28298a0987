# Services that are copied to /run and respawn, the user's id from the environment, a restart.
start -e PUID=1234 -e PGID=1234 "$IMAGE"
until_ok in_container curl -fsS http://127.0.0.1:8080/
probe 5 curl -fsS http://127.0.0.1:8080/
in_container s6-svc -r /run/s6/services/web
in_container s6-svstat /run/s6/services/web
restart
until_ok in_container curl -fsS http://127.0.0.1:8080/
steady 10 curl -fsS http://127.0.0.1:8080/
