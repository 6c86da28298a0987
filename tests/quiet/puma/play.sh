# jemalloc by the entry point, bootsnap's caches, workers, a hot restart, a restart.
start "$IMAGE"
until_ok in_container curl -fsS http://127.0.0.1:3000/
probe 5 curl -fsS http://127.0.0.1:3000/
in_container sh -c 'kill -USR2 1'
until_ok in_container curl -fsS http://127.0.0.1:3000/
in_container sh -c 'for i in $(seq 100); do curl -fsS http://127.0.0.1:3000/ > /dev/null; done'
in_container touch tmp/restart.txt
restart
until_ok in_container curl -fsS http://127.0.0.1:3000/
steady 10 curl -fsS http://127.0.0.1:3000/
