# npm start with a script before it, requests, scripts by npm and npx, a restart.
start "$IMAGE"
until_ok in_container curl -fsS http://127.0.0.1:3000/
probe 5 curl -fsS http://127.0.0.1:3000/
in_container npm run health
in_container npx --no-install greet
in_container node -e 'require("worker_threads"); console.log(1)'
in_container sh -c 'for i in $(seq 100); do curl -fsS http://127.0.0.1:3000/ > /dev/null; done'
restart
until_ok in_container curl -fsS http://127.0.0.1:3000/
steady 10 curl -fsS http://127.0.0.1:3000/
