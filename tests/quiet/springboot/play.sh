# A fat jar, six native libraries that unpack themselves, health checks, a restart.
start "$IMAGE"
until_ok in_container curl -fsS http://127.0.0.1:8080/
in_container curl -fsS http://127.0.0.1:8080/native
probe 5 curl -fsS http://127.0.0.1:8080/
in_container sh -c 'kill -QUIT 1'
restart
until_ok in_container curl -fsS http://127.0.0.1:8080/
in_container curl -fsS http://127.0.0.1:8080/native
steady 10 curl -fsS http://127.0.0.1:8080/
