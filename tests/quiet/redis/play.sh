# As a chart deploys it: start script, probes and configuration from configMaps, probes every five seconds.
mkdir -p "$WORK/health" "$WORK/start" "$WORK/conf"
for kind in liveness readiness; do cat > "$WORK/health/ping_${kind}_local.sh" <<'S'
#!/bin/bash
response=$(timeout -s 15 "$1" redis-cli -h localhost -p 6379 ping)
[ "$response" = PONG ] || { echo "$response"; exit 1; }
S
done
cat > "$WORK/start/start-master.sh" <<'S'
#!/bin/bash
[ ! -f /opt/conf/master.conf ] || cp /opt/conf/master.conf /data/redis.conf
exec redis-server /data/redis.conf --port 6379 --protected-mode no --appendonly yes
S
echo 'save 60 1' > "$WORK/conf/master.conf"
chmod 755 "$WORK"/health/* "$WORK"/start/*
start -v "$WORK/health:/health:ro" -v "$WORK/start:/opt/scripts:ro" -v "$WORK/conf:/opt/conf:ro" \
    --entrypoint /bin/bash "$IMAGE" -c /opt/scripts/start-master.sh
until_ok in_container redis-cli ping
probe 8 sh -c '/health/ping_liveness_local.sh 5'
probe 8 sh -c '/health/ping_readiness_local.sh 1'
in_container redis-benchmark -q -n 2000 -t set,get
in_container redis-cli bgsave
in_container redis-cli bgrewriteaof
restart
until_ok in_container redis-cli ping
steady 5 sh -c '/health/ping_liveness_local.sh 5; /health/ping_readiness_local.sh 1'
