#!/usr/bin/env bash
# A Kubernetes node of one machine in mount, network and UTS namespaces of its own: etcd, API server, controller manager,
# containerd, kubelet and CNI, Ready within some ten seconds, with all standard paths and nothing of it outside.
#
#     provision.sh DIR                    the programs, once
#     node.sh up DIR                      from nothing to a Ready node
#     node.sh in DIR COMMAND...           in the node's namespaces, such as Falco
#     node.sh kubectl DIR ARGUMENTS...
#     node.sh image DIR NAME FOLDER COMMAND...   an image of one layer, the folder's content
#     node.sh down DIR                    everything ends and is wiped
#
# Needs root. What each setting is for stands beside it; docs/kubernetes.md has what runs here.
set -eu
command=$1 dir=$(cd "$2" && pwd)
shift 2
here=$(cd "$(dirname "$0")" && pwd)
state=$dir/node
pki=$dir/pki

inside() {
    # Not `ip netns exec`, which mounts /sys again and hides the control groups.
    nsenter -t "$(cat "$state/pid")" -m -n -u -- env \
        PATH="$dir/bin:$dir/root/usr/bin:$dir/root/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin" CONTAINERD_NAMESPACE=k8s.io "$@"
}
started() { # NAME COMMAND...: in the background, in the node's namespaces
    local name=$1
    shift
    inside setsid "$@" < /dev/null > "$dir/log/$name.log" 2>&1 &
    echo $! > "$state/$name.pid"
}
kubectl() { inside kubectl --kubeconfig "$pki/admin.kubeconfig" "$@"; }
wait_for() { # SECONDS WHAT COMMAND...
    local tries=$(($1 * 5)) what=$2
    shift 2
    until "$@" > /dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { echo "node: $what did not come up; see $dir/log" >&2; exit 1; }
        sleep 0.2
    done
}

certificates() {
    [ ! -e "$pki/done" ] || return 0
    mkdir -p "$pki"
    cd "$pki"
    key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key" 2> /dev/null; }
    key ca
    openssl req -x509 -new -key ca.key -subj /CN=ca -days 3650 -out ca.crt 2> /dev/null
    certificate() { # NAME SUBJECT EXTENSIONS
        key "$1"
        openssl req -new -key "$1.key" -subj "$2" 2> /dev/null |
            openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile <(printf '%s\n' "$3") -out "$1.crt" \
                2> /dev/null
    }
    certificate apiserver /CN=kube-apiserver \
        'subjectAltName=DNS:kubernetes,DNS:kubernetes.default.svc,DNS:localhost,IP:127.0.0.1,IP:10.99.0.1,IP:10.96.0.1
extendedKeyUsage=serverAuth'
    certificate admin /O=system:masters/CN=admin extendedKeyUsage=clientAuth
    certificate kubelet /O=system:nodes/CN=system:node:knode extendedKeyUsage=clientAuth
    certificate kubelet-server /CN=knode 'subjectAltName=DNS:knode,IP:10.99.0.1
extendedKeyUsage=serverAuth'
    openssl genrsa -out sa.key 2048 2> /dev/null
    openssl rsa -in sa.key -pubout -out sa.pub 2> /dev/null
    for user in admin kubelet; do
        cat > $user.kubeconfig << END
apiVersion: v1
kind: Config
clusters: [{name: k, cluster: {server: "https://10.99.0.1:6443", certificate-authority: $pki/ca.crt}}]
users: [{name: u, user: {client-certificate: $pki/$user.crt, client-key: $pki/$user.key}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
current-context: c
END
    done
    touch done
    cd - > /dev/null
}

settings() {
    mkdir -p "$dir/etc/cni"
    cat > "$dir/etc/cni/10-bridge.conflist" << 'END'
{"cniVersion": "1.0.0", "name": "k8s", "plugins": [
 {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
  "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.7.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
END
    # restrict_oom_score_adj: lowering the score takes CAP_SYS_RESOURCE, without which every sandbox fails.
    cat > "$dir/etc/containerd.toml" << END
version = 3
root = '/var/lib/containerd'
state = '/run/containerd'
[grpc]
  address = '/run/containerd/containerd.sock'
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = 'localhost/pause:1'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = '/usr/local/sbin/runc'
      SystemdCgroup = false
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['$dir/root/usr/lib/cni']
    conf_dir = '/etc/cni/net.d'
[plugins.'io.containerd.internal.v1.opt']
  path = '/var/lib/containerd/opt'
END
    # failCgroupV1 and cgroupDriver: machines with the old hierarchy; oomScoreAdj: as above; the thresholds: the disk is the
    # machine's, and its fill is nothing of the node's.
    cat > "$dir/etc/kubelet.yaml" << END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupsPerQOS: true
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
makeIPTablesUtilChains: false
localStorageCapacityIsolation: false
address: 10.99.0.1
healthzBindAddress: 127.0.0.1
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: AlwaysAllow}
syncFrequency: 5s
configMapAndSecretChangeDetectionStrategy: Watch
clusterDomain: cluster.local
resolvConf: /etc/kubernetes/resolv.conf
evictionHard: {memory.available: "1Mi", nodefs.available: "0%", imagefs.available: "0%", nodefs.inodesFree: "0%"}
imageGCHighThresholdPercent: 100
tlsCertFile: $pki/kubelet-server.crt
tlsPrivateKeyFile: $pki/kubelet-server.key
nodeStatusUpdateFrequency: 4s
volumePluginDir: /var/lib/kubelet/volume-plugins
END
}

namespaces() {
    mkdir -p "$state" "$dir/log"
    rm -f "$state/pid"
    # The mount points are the machine's; what is mounted there is seen in the node only.
    export dir state
    setsid unshare --mount --net --uts --propagation private bash -c '
        set -e
        mount --make-rshared /
        hostname knode
        mount -t tmpfs -o mode=755 tmpfs /run
        mkdir -p /run/containerd /run/netns /run/lock
        bind() { mkdir -p "$state/$1" "$2"; mount --bind "$state/$1" "$2"; }
        bind kubelet /var/lib/kubelet
        bind containerd /var/lib/containerd
        bind pods /var/log/pods
        bind containers /var/log/containers
        bind cni-etc /etc/cni/net.d
        bind cni-var /var/lib/cni
        bind kubernetes /etc/kubernetes
        # Where runtimes are: Drift knows those of the host by their place. The directory, not the file: runc executes a copy
        # of itself that it finds by an overlay of its directory.
        mount --bind "$dir/root/usr/sbin" /usr/local/sbin
        cp "$dir"/etc/cni/* /etc/cni/net.d/
        echo "nameserver 127.0.0.1" > /etc/kubernetes/resolv.conf
        ip link set lo up
        # Not every kernel has the type dummy.
        ip link add eth0 type dummy 2> /dev/null || ip link add eth0 type bridge
        ip addr add 10.99.0.1/24 dev eth0
        ip link set eth0 up
        ip route add default via 10.99.0.254
        sysctl -qw net.ipv4.ip_forward=1
        echo $$ > "$state/pid"
        exec sleep 1000000' < /dev/null > "$dir/log/namespaces.log" 2>&1 &
    wait_for 10 namespaces test -s "$state/pid"
}

make_image() { # NAME FOLDER COMMAND...
    python3 "$here/image.py" "$dir/image.tar" "$@"
    inside ctr images import --local "$dir/image.tar" > /dev/null
    rm -f "$dir/image.tar"
}

up() {
    certificates
    settings
    namespaces
    started containerd containerd --config "$dir/etc/containerd.toml"
    wait_for 20 containerd inside ctr version
    if [ ! -x "$dir/pause/pause" ]; then
        mkdir -p "$dir/pause"
        cc -static -Os -o "$dir/pause/pause" "$here/pause.c"
    fi
    make_image localhost/pause:1 "$dir/pause" /pause
    started etcd etcd --data-dir "$state/etcd" --listen-client-urls http://127.0.0.1:2379 --log-level warn \
        --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync
    started apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --bind-address 10.99.0.1 \
        --advertise-address 10.99.0.1 --secure-port 6443 --tls-cert-file "$pki/apiserver.crt" \
        --tls-private-key-file "$pki/apiserver.key" --client-ca-file "$pki/ca.crt" \
        --kubelet-client-certificate "$pki/admin.crt" --kubelet-client-key "$pki/admin.key" \
        --kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
        --service-cluster-ip-range 10.96.0.0/24 --authorization-mode AlwaysAllow \
        --service-account-issuer https://kubernetes.default.svc --service-account-signing-key-file "$pki/sa.key" \
        --service-account-key-file "$pki/sa.pub" --endpoint-reconciler-type none --allow-privileged --v 1
    wait_for 60 "the API server" kubectl get --raw /readyz
    started kubelet kubelet --config "$dir/etc/kubelet.yaml" --kubeconfig "$pki/kubelet.kubeconfig" \
        --hostname-override knode --node-ip 10.99.0.1 --v 2
    started controllers kube-controller-manager --kubeconfig "$pki/admin.kubeconfig" --leader-elect=false \
        --service-account-private-key-file "$pki/sa.key" --root-ca-file "$pki/ca.crt" --bind-address 127.0.0.1 \
        --authentication-kubeconfig "$pki/admin.kubeconfig" --authorization-kubeconfig "$pki/admin.kubeconfig" \
        --use-service-account-credentials=false --controllers='*,-node-ipam-controller' --v 1
    ready() { kubectl get node knode -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -q True; }
    wait_for 60 "the node" ready
    wait_for 20 "the service account" kubectl get serviceaccount default
}

# The processes of the node, and their descendants: those of containers have namespaces of their own, and a shim among their
# ancestors.
processes() {
    local namespace of=' '
    namespace=$(readlink "/proc/$(cat "$state/pid")/ns/mnt") || return 0
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/ns/mnt" 2> /dev/null)" != "$namespace" ] || of="$of${process#/proc/} "
    done
    ps -e -o pid=,ppid= --sort=start_time | while read -r pid parent; do
        case $of in *" $pid "* | *" $parent "*) of="$of$pid " && echo "$pid" ;; esac
    done
}

down() {
    local name all
    # The API server before etcd: without etcd it does not end.
    for name in kubelet controllers apiserver etcd containerd; do
        [ ! -e "$state/$name.pid" ] || kill -9 "$(cat "$state/$name.pid")" 2> /dev/null || true
    done
    [ -s "$state/pid" ] || return 0
    all=$(processes)
    # shellcheck disable=SC2086 # A list of processes.
    [ -z "$all" ] || kill -9 $all 2> /dev/null || true
    sleep 0.5
    find /sys/fs/cgroup -depth -type d -path '*kubepods*' -exec rmdir {} + 2> /dev/null || true
    rm -rf "$state"
}

case $command in
up) up ;;
in) inside "$@" ;;
kubectl) kubectl "$@" ;;
image) make_image "$@" ;;
down) down ;;
*) echo "node: $command is none of up, in, kubectl, image and down" >&2; exit 2 ;;
esac
