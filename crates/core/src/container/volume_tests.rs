use super::*;
use proptest::prelude::*;
use VolumeKind::*;

const UID: &str = "0a1b2c3d-1111-2222-3333-444455556666";
const OTHER: &str = "99999999-1111-2222-3333-444455556666";
const ID: &str = "336dbed7078d499789b3a9fa6d0bb3982c81a559ba2ecf60b594709f016fa050";

fn table(text: &str) -> MountTable {
    let filled = text.replace("{UID}", UID).replace("{OTHER}", OTHER).replace("{ID}", ID);
    let table = MountTable::parse(filled.as_bytes());
    assert_eq!(table.bad_lines(), 0);
    table
}

/// Every mount of the container, by its mount point, has the kind said; those not said are no volume.
fn check(volumes: &Volumes<'_>, table: &MountTable, want: &[(&str, VolumeKind)]) {
    for mount in table.iter() {
        let at = String::from_utf8_lossy(&mount.mount_point);
        let kind = want.iter().find(|(place, _)| *place == at).map(|(_, kind)| *kind);
        assert_eq!(volumes.kind(mount), kind, "{at}");
    }
    for (place, _) in want {
        assert!(table.iter().any(|m| m.mount_point == place.as_bytes()), "no mount at {place}");
    }
}

/// Printed in a real container: podman 4.3.1, runc, cgroup v1, Linux 6.18; storage directories renamed to
/// podman's defaults. `--tmpfs /scratch -v /srv/data:/bind -v /srv/data:/over:O -v named:/named -v /anon -v
/// /run/lock:/runbind --secret probesec --mount type=image,destination=/img`.
const PODMAN: &str = "\
121 68 0:53 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/containers/storage/overlay/l/NVHLPVOYG5AYG3GJR2MC6I7P4X,upperdir=/var/lib/containers/storage/overlay/{ID}/diff,workdir=/var/lib/containers/storage/overlay/{ID}/work,uuid=on,fsync=volatile
122 121 254:0 /var/lib/containers/storage/volumes/48c0e64a1dc373d7bf015a88fd94cb74d1f8563f9b7179d613e3e7449edd9e1a/_data /anon rw,nosuid,nodev,relatime - ext4 /dev/vda rw,discard
123 121 254:0 /run/lock /runbind rw,relatime - ext4 /dev/vda rw,discard
125 121 0:59 / /scratch rw,nosuid,nodev,relatime - tmpfs tmpfs rw
124 121 0:60 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
126 121 0:61 / /dev rw,nosuid,noexec - tmpfs tmpfs rw,size=65536k,mode=755
129 121 0:62 / /img rw,relatime - overlay /var/lib/containers/storage/overlay-containers/{ID}/userdata/overlay/3113911736/merge ro,lowerdir=/var/lib/containers/storage/overlay/bc5dea9cc23653fff2baa380651ee2072ae88542bf8e6508a299ee2966db1bd3/merged:/var/lib/containers/storage/overlay-containers/{ID}/userdata/overlay/3113911736/lower,redirect_dir=on
132 121 0:66 / /over rw,relatime - overlay /var/lib/containers/storage/overlay-containers/{ID}/userdata/overlay/3573430816/merge rw,lowerdir=/srv/data,upperdir=/var/lib/containers/storage/overlay-containers/{ID}/userdata/overlay/3573430816/upper,workdir=/var/lib/containers/storage/overlay-containers/{ID}/userdata/overlay/3573430816/work,uuid=on
133 121 0:68 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
134 121 254:0 /srv/data /bind rw,relatime - ext4 /dev/vda rw,discard
135 121 254:0 /var/lib/containers/storage/volumes/named/_data /named rw,nosuid,nodev,relatime - ext4 /dev/vda rw,discard
136 126 0:52 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=64000k
137 121 254:0 /run/containers/storage/overlay-containers/{ID}/userdata/hosts /etc/hosts rw,relatime - ext4 /dev/vda rw,discard
138 121 254:0 /run/containers/storage/overlay-containers/{ID}/userdata/.containerenv /run/.containerenv rw,relatime - ext4 /dev/vda rw,discard
139 121 254:0 /run/containers/storage/overlay-containers/{ID}/userdata/run/secrets /run/secrets rw,relatime - ext4 /dev/vda rw,discard
140 121 254:0 /run/containers/storage/overlay-containers/{ID}/userdata/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw,discard
141 126 0:58 / /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw
142 126 0:69 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,gid=5,mode=620,ptmxmode=666
143 133 0:70 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755
144 143 0:29 /libpod_parent/libpod-{ID} /sys/fs/cgroup/cpu ro,nosuid,nodev,noexec,relatime - cgroup cgroup rw,cpu
153 139 254:0 /var/lib/containers/storage/overlay-containers/{ID}/userdata/secrets/probesec /run/secrets/probesec rw,relatime - ext4 /dev/vda rw,discard
69 124 0:60 /bus /proc/bus ro,nosuid,nodev,noexec,relatime - proc proc rw
73 124 0:71 / /proc/acpi ro,relatime - tmpfs tmpfs ro
74 124 0:61 /null /proc/keys rw,nosuid,noexec - tmpfs tmpfs rw,size=65536k,mode=755
100 133 0:72 / /sys/firmware ro,relatime - tmpfs tmpfs ro
";

const PODMAN_HOST: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
22 27 0:21 / /proc rw,relatime - proc proc rw
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw,mode=755
30 24 0:27 / /dev/shm rw,relatime - tmpfs tmpfs rw
43 27 254:0 /var/lib/containers/storage/overlay /var/lib/containers/storage/overlay rw,relatime - ext4 /dev/vda rw,discard
44 27 0:52 / /var/lib/containers/storage/overlay-containers/{ID}/userdata/shm rw,relatime - tmpfs shm rw,size=64000k
45 27 0:53 / /var/lib/containers/storage/overlay/{ID}/merged rw,relatime - overlay overlay rw,lowerdir=/l
";

#[test]
fn podman() {
    let (container, host) = (table(PODMAN), table(PODMAN_HOST));
    let want = [
        ("/anon", Bind),
        ("/runbind", Bind),
        ("/scratch", Tmpfs),
        ("/img", Image),
        ("/over", Bind),
        ("/bind", Bind),
        ("/named", Bind),
        ("/dev/shm", Tmpfs),
        ("/etc/hosts", Bind),
        ("/run/.containerenv", Bind),
        ("/run/secrets", Bind),
        ("/etc/hostname", Bind),
        ("/run/secrets/probesec", Secret),
    ];
    check(&Volumes::new(&container, Some(&host)), &container, &want);
    // Nothing in it needs the host's table.
    check(&Volumes::new(&container, None), &container, &want);
}

/// As containerd 1.7 and kubelet lay a pod out (kubelet's root on the node's only disk).
const POD: &str = "\
900 800 0:210 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/41/fs:/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/40/fs,upperdir=/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/57/fs,workdir=/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/57/work
901 900 0:211 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
902 900 0:212 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
903 902 0:213 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw
904 902 0:190 / /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw
905 900 0:195 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
906 905 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw
907 900 8:1 /var/lib/kubelet/pods/{UID}/etc-hosts /etc/hosts rw,relatime - ext4 /dev/sda1 rw
908 902 8:1 /var/lib/kubelet/pods/{UID}/containers/app/3f2a1b0c /dev/termination-log rw,relatime - ext4 /dev/sda1 rw
909 900 8:1 /var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/{ID}/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw
910 900 8:1 /var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/{ID}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/sda1 rw
911 902 0:185 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k
912 900 0:170 / /etc/tls ro,relatime - tmpfs tmpfs rw,size=1048576k
913 900 0:171 / /var/run/secrets/kubernetes.io/serviceaccount ro,relatime - tmpfs tmpfs rw,size=1048576k
914 900 0:172 / /cache rw,relatime - tmpfs tmpfs rw,size=65536k
915 900 8:1 /var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~configmap/conf /etc/app ro,relatime - ext4 /dev/sda1 rw
916 900 8:1 /var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~empty-dir/tmp /tmp rw,relatime - ext4 /dev/sda1 rw
917 900 8:1 /var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~empty-dir/tmp/sub /sub rw,relatime - ext4 /dev/sda1 rw
918 900 8:1 /var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~downward-api/info /etc/info ro,relatime - ext4 /dev/sda1 rw
919 900 8:1 /var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~projected/all /etc/all ro,relatime - ext4 /dev/sda1 rw
920 900 8:32 / /data rw,relatime - ext4 /dev/sdc rw
921 900 8:32 /part /data-part rw,relatime - ext4 /dev/sdc rw
922 900 0:60 / /nfs rw,relatime - nfs4 10.0.0.1:/export rw,vers=4.2
923 900 8:1 /opt/agent /host-agent rw,relatime - ext4 /dev/sda1 rw
924 900 0:24 / /host-run rw,relatime - tmpfs tmpfs rw,mode=755
925 900 0:24 /docker.sock /sock rw,relatime - tmpfs tmpfs rw,mode=755
926 900 8:1 / /host ro,relatime - ext4 /dev/sda1 rw
927 900 8:1 /var/lib/kubelet/pods/{OTHER}/volumes/kubernetes.io~configmap/conf /stolen ro,relatime - ext4 /dev/sda1 rw
928 900 0:170 /..2024_01_01_00_00_00.1/tls.key /etc/key ro,relatime - tmpfs tmpfs rw,size=1048576k
929 900 0:230 / /scratch rw,relatime - tmpfs tmpfs rw
930 900 0:231 / /model ro,relatime - overlay overlay ro,lowerdir=/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/71/fs:/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/70/fs
931 900 8:1 /var/lib/containerd/io.containerd.grpc.v1.cri/containers/{ID}/volumes/5e6f /var/cache rw,relatime - ext4 /dev/sda1 rw
932 901 0:212 /null /proc/kcore rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
933 901 0:240 / /proc/acpi ro,relatime - tmpfs tmpfs ro
934 902 0:5 /fuse /dev/fuse rw,nosuid - devtmpfs devtmpfs rw
935 900 8:48 /disks/a /local rw,relatime - ext4 /dev/sdd rw
";

const NODE: &str = "\
27 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
28 27 0:24 / /run rw,nosuid,nodev shared:5 - tmpfs tmpfs rw,mode=755
29 27 0:5 / /dev rw,nosuid - devtmpfs udev rw
30 27 8:48 / /mnt rw,relatime shared:9 - ext4 /dev/sdd rw
60 27 0:170 / /var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~secret/tls rw,relatime shared:60 - tmpfs tmpfs rw,size=1048576k
61 27 0:171 / /var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~projected/kube-api-access-x2x4x rw,relatime shared:61 - tmpfs tmpfs rw,size=1048576k
62 27 0:172 / /var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~empty-dir/cache rw,relatime shared:62 - tmpfs tmpfs rw,size=65536k
63 27 8:32 / /var/lib/kubelet/plugins/kubernetes.io/csi/ebs.csi.aws.com/77aa/globalmount rw,relatime shared:63 - ext4 /dev/sdc rw
64 27 8:32 / /var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~csi/pvc-1234/mount rw,relatime shared:63 - ext4 /dev/sdc rw
65 27 0:60 / /var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~nfs/pv-nfs rw,relatime shared:64 - nfs4 10.0.0.1:/export rw,vers=4.2
66 27 8:32 /part /var/lib/kubelet/pods/{UID}/volume-subpaths/pvc-1234/app/3 rw,relatime shared:63 - ext4 /dev/sdc rw
67 28 0:185 / /run/containerd/io.containerd.grpc.v1.cri/sandboxes/{ID}/shm rw,nosuid,nodev,noexec,relatime shared:70 - tmpfs shm rw,size=65536k
68 28 0:210 / /run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/rootfs rw,relatime shared:71 - overlay overlay rw,lowerdir=/l
69 27 8:48 /disks/a /var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~local-volume/pv-local rw,relatime shared:9 - ext4 /dev/sdd rw
";

const POD_KINDS: &[(&str, VolumeKind)] = &[
    ("/etc/hosts", Bind),
    ("/dev/termination-log", Bind),
    ("/etc/hostname", Bind),
    ("/etc/resolv.conf", Bind),
    ("/dev/shm", Tmpfs),
    ("/etc/tls", Secret),
    ("/etc/key", Secret),
    ("/var/run/secrets/kubernetes.io/serviceaccount", Projected),
    ("/cache", EmptyDir),
    ("/etc/app", ConfigMap),
    ("/tmp", EmptyDir),
    ("/sub", EmptyDir),
    ("/etc/info", Projected),
    ("/etc/all", Projected),
    ("/data", Pvc),
    ("/data-part", Pvc),
    ("/nfs", Pvc),
    ("/local", Pvc),
    ("/host-agent", HostPath),
    ("/host-run", HostPath),
    ("/sock", HostPath),
    ("/host", HostPath),
    ("/stolen", HostPath),
    ("/scratch", Tmpfs),
    ("/model", Image),
    ("/var/cache", Bind),
];

#[test]
fn kubernetes_on_containerd() {
    let (container, host) = (table(POD), table(NODE));
    check(&Volumes::new(&container, Some(&host)), &container, POD_KINDS);
}

#[test]
fn kubelet_on_a_partition_of_its_own() {
    // `root` then lacks what the partition is mounted on; static pods have a digest for a uid.
    let text = "\
        900 800 0:210 / / rw - overlay overlay rw,lowerdir=/l\n\
        901 900 8:5 /pods/0123456789abcdef0123456789abcdef/etc-hosts /etc/hosts rw - xfs /dev/sdb rw\n\
        902 900 8:5 /pods/0123456789abcdef0123456789abcdef/volumes/kubernetes.io~configmap/c /c rw - xfs /dev/sdb rw\n\
        903 900 8:5 /pods/0123456789abcdef0123456789abcdef/volumes/vendor.example~driver/v /v rw - xfs /dev/sdb rw\n\
        904 900 8:5 /other /o rw - xfs /dev/sdb rw\n";
    let host =
        table("27 1 8:1 / / rw - xfs /dev/sda rw\n28 27 8:5 / /var/lib/kubelet rw - xfs /dev/sdb rw\n");
    let container = table(text);
    let want = [("/etc/hosts", Bind), ("/c", ConfigMap), ("/v", Pvc), ("/o", HostPath)];
    check(&Volumes::new(&container, Some(&host)), &container, &want);
}

#[test]
fn a_pod_without_the_hosts_table() {
    let container = table(POD);
    let volumes = Volumes::new(&container, None);
    let kind = |at: &str| {
        volumes.kind(container.iter().find(|m| m.mount_point == at.as_bytes()).expect("it is in the table"))
    };
    // What the bind mount's own root tells is still known.
    assert_eq!(kind("/etc/app"), Some(ConfigMap));
    assert_eq!(kind("/tmp"), Some(EmptyDir));
    assert_eq!(kind("/host-agent"), Some(HostPath));
    assert_eq!(kind("/var/run/secrets/kubernetes.io/serviceaccount"), Some(Projected));
    // A tmpfs does not tell whose it is.
    assert_eq!(kind("/etc/tls"), Some(Tmpfs));
}

/// As Docker Engine lays a container out.
#[test]
fn docker() {
    let container = table(
        "700 600 0:80 / / rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/AAAA:/var/lib/docker/overlay2/l/BBBB,upperdir=/var/lib/docker/overlay2/{ID}/diff,workdir=/var/lib/docker/overlay2/{ID}/work\n\
         701 700 0:81 / /proc rw - proc proc rw\n\
         702 700 0:82 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755\n\
         703 702 0:83 / /dev/shm rw - tmpfs shm rw,size=65536k\n\
         704 700 8:1 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw - ext4 /dev/sda1 rw\n\
         705 700 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n\
         706 700 8:1 /var/lib/docker/containers/{ID}/hosts /etc/hosts rw - ext4 /dev/sda1 rw\n\
         707 700 8:1 /var/lib/docker/volumes/pgdata/_data /var/lib/postgresql rw - ext4 /dev/sda1 rw\n\
         708 700 8:1 /home/u/src /src rw - ext4 /dev/sda1 rw\n\
         709 700 0:24 /docker.sock /var/run/docker.sock rw - tmpfs tmpfs rw,mode=755\n\
         710 700 0:84 / /run rw,nosuid - tmpfs tmpfs rw\n\
         711 702 0:85 /0 /dev/console rw - devpts devpts rw\n\
         712 700 0:86 / /run/secrets/db ro - tmpfs tmpfs ro\n",
    );
    let host = table(
        "27 1 8:1 / / rw - ext4 /dev/sda1 rw\n28 27 0:24 / /run rw - tmpfs tmpfs rw,mode=755\n\
         29 27 0:80 / /var/lib/docker/overlay2/{ID}/merged rw - overlay overlay rw,lowerdir=/l\n\
         30 27 0:83 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw,size=65536k\n\
         31 27 0:86 / /var/lib/docker/containers/{ID}/mounts/secrets rw - tmpfs tmpfs rw\n",
    );
    let want = [
        ("/dev/shm", Tmpfs),
        ("/etc/resolv.conf", Bind),
        ("/etc/hostname", Bind),
        ("/etc/hosts", Bind),
        ("/var/lib/postgresql", Bind),
        ("/src", Bind),
        ("/var/run/docker.sock", Bind),
        ("/run", Tmpfs),
        ("/run/secrets/db", Secret),
    ];
    check(&Volumes::new(&container, Some(&host)), &container, &want);
}

#[test]
fn a_node_whose_root_is_itself_an_overlay() {
    let container = table(
        "900 800 0:90 / / rw - overlay overlay rw,lowerdir=/snapshots/1/fs\n\
         901 900 0:50 /srv/data /data rw - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A\n",
    );
    let host = table("27 1 0:50 / / rw - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A\n");
    check(&Volumes::new(&container, Some(&host)), &container, &[("/data", Bind)]);
    check(&Volumes::new(&container, Some(&host)).in_pod(), &container, &[("/data", HostPath)]);
}

#[test]
fn a_directory_bound_elsewhere_in_the_same_root_is_no_volume() {
    let container = table(
        "900 800 0:90 / / rw - overlay overlay rw,lowerdir=/snapshots/1/fs\n\
         901 900 0:90 /opt/a /opt/b rw - overlay overlay rw,lowerdir=/snapshots/1/fs\n\
         902 800 8:1 /vfs/dir/x /x rw - ext4 /dev/sda1 rw\n",
    );
    check(&Volumes::new(&container, None), &container, &[("/x", Bind)]);
}

#[test]
fn a_writable_mount_in_proc_is_not_the_runtimes() {
    let container = table(
        "900 800 0:90 / / rw - overlay overlay rw,lowerdir=/snapshots/1/fs\n\
         901 900 0:91 / /proc rw - proc proc rw\n\
         902 901 0:92 / /proc/acpi rw - tmpfs hidden rw\n",
    );
    check(&Volumes::new(&container, None), &container, &[("/proc/acpi", Tmpfs)]);
}

/// Printed in a real container: Docker 20.10.24, overlay2, Linux 6.18; the data root renamed to Docker's
/// default. `--init -v named:/data --mount type=volume,dst=/anon --mount type=tmpfs,dst=/tf -v
/// /srv/data:/bind:ro`, the image's `/usr` is merged.
const DOCKER: &str = "\
642 518 0:157 / / rw,relatime master:16 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/5AFNP7EBO3RDZXXEUWMIGW6Y5V:/var/lib/docker/overlay2/l/2LG2L7HQA3QNZSBH6MOA2PSJ3D,upperdir=/var/lib/docker/overlay2/{ID}/diff,workdir=/var/lib/docker/overlay2/{ID}/work
644 642 0:163 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
679 644 0:167 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k
628 642 254:0 /usr/bin/tini-static /usr/sbin/docker-init ro,relatime - ext4 /dev/vda rw,discard
680 642 254:0 /var/lib/docker/volumes/named/_data /data rw,relatime master:1 - ext4 /dev/vda rw,discard
681 642 254:0 /var/lib/docker/volumes/0e204ac31ab7a29154825977dcf500eed2000ea1f79ebb15eb91a33985ad56da/_data /anon rw,relatime master:1 - ext4 /dev/vda rw,discard
682 642 0:168 / /tf rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw
686 642 254:0 /srv/data /bind ro,relatime - ext4 /dev/vda rw,discard
683 642 254:0 /var/lib/docker/containers/{ID}/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda rw,discard
684 642 254:0 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw,discard
685 642 254:0 /var/lib/docker/containers/{ID}/hosts /etc/hosts rw,relatime - ext4 /dev/vda rw,discard
";

#[test]
fn docker_volumes_and_its_own_mounts() {
    let container = table(DOCKER);
    let binds = [
        "/usr/sbin/docker-init",
        "/data",
        "/anon",
        "/bind",
        "/etc/resolv.conf",
        "/etc/hostname",
        "/etc/hosts",
    ];
    let tmpfs = ["/dev/shm", "/tf"];
    let want: Vec<_> = binds.map(|at| (at, Bind)).into_iter().chain(tmpfs.map(|at| (at, Tmpfs))).collect();
    check(&Volumes::new(&container, None), &container, &want);
    let own: Vec<&Mount> = container.iter().filter(|mount| is_engines_init(mount)).collect();
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].mount_point, b"/usr/sbin/docker-init");
    let writable = table(&DOCKER.replace("/usr/sbin/docker-init ro,", "/usr/sbin/docker-init rw,"));
    assert!(!writable.iter().any(is_engines_init));
}

#[test]
fn names_are_the_fields_values() {
    let names =
        [Secret, ConfigMap, Projected, EmptyDir, HostPath, Pvc, Image, Tmpfs, Bind].map(VolumeKind::as_str);
    assert_eq!(
        names,
        ["secret", "configmap", "projected", "emptydir", "hostpath", "pvc", "image", "tmpfs", "bind"]
    );
}

proptest! {
    #[test]
    fn any_table_is_survived(
        container in proptest::collection::vec((0u64..5, 0u64..5, 0u32..3, "/[a-z~/.-]{0,30}", "/[a-z/]{0,8}"), 0..8),
        host in proptest::collection::vec((0u32..3, "/[a-z/]{0,8}", "/[a-z~/.-]{0,30}"), 0..8),
    ) {
        let container: String = container.iter()
            .map(|(id, parent, dev, root, at)| format!("{id} {parent} 0:{dev} {root} {at} rw - tmpfs t rw\n")).collect();
        let host: String = host.iter().enumerate()
            .map(|(id, (dev, root, at))| format!("{id} 9 0:{dev} {root} {at} rw - tmpfs t rw\n")).collect();
        let (container, host) = (MountTable::parse(container.as_bytes()), MountTable::parse(host.as_bytes()));
        let volumes = Volumes::new(&container, Some(&host));
        for mount in container.iter() {
            let _ = volumes.kind(mount);
        }
    }
}
