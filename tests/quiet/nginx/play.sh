# A template from a configMap, requests, a probe, reload, new log files, a restart.
mkdir -p "$WORK/templates"
cat > "$WORK/templates/site.conf.template" <<'T'
server { listen 8081; server_name ${SITE_NAME}; location / { return 200 "ok\n"; } }
T
start -e SITE_NAME=quiet -p 8081 -v "$WORK/templates:/etc/nginx/templates:ro" "$IMAGE"
until_ok in_container curl -fsS http://127.0.0.1/
probe 5 curl -fsS http://127.0.0.1/
in_container nginx -s reload
in_container sh -c 'kill -USR1 1'
in_container nginx -t
in_container sh -c 'for i in $(seq 200); do curl -fsS http://127.0.0.1/ > /dev/null; done'
restart
until_ok in_container curl -fsS http://127.0.0.1/
steady 10 curl -fsS http://127.0.0.1/
