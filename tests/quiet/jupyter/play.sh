# The notebook server, kernels by its interface and by a client, a health check. As jovyan, or with AS=root as another
# user that start.sh makes.
if [ "${AS:-}" = root ]; then options=(--user root -e NB_USER=alice -e NB_UID=1234 -e CHOWN_HOME=yes); else options=(); fi
start "${options[@]}" "$IMAGE"
until_ok in_container curl -fsS http://127.0.0.1:8888/api
probe 3 curl -fsS http://127.0.0.1:8888/api
in_container curl -fsS -X POST -H 'Content-Type: application/json' -d '{"name":"python3"}' http://127.0.0.1:8888/api/kernels || true
in_container python3 /usr/local/bin/probe.py
restart
until_ok in_container curl -fsS http://127.0.0.1:8888/api
steady 10 curl -fsS http://127.0.0.1:8888/api
