# A war that is unpacked, pages that are compiled, jcmd, the shutdown port, a restart.
start "$IMAGE"
until_ok in_container curl -fsS http://127.0.0.1:8080/app/
probe 5 curl -fsS http://127.0.0.1:8080/app/
in_container curl -fsS -o /dev/null http://127.0.0.1:8080/examples/jsp/dates/date.jsp
in_container curl -fsS -o /dev/null http://127.0.0.1:8080/examples/jsp/snp/snoop.jsp
in_container curl -fsS -o /dev/null http://127.0.0.1:8080/examples/servlets/servlet/HelloWorldExample
in_container sh -c 'kill -QUIT 1'
sleep 2
restart
until_ok in_container curl -fsS http://127.0.0.1:8080/app/
steady 10 curl -fsS http://127.0.0.1:8080/app/
