use super::*;
use drift_formats::ports::Protocol;
use std::io::Read;

const ID: &str = "7d088e3500917bedf11954b2036a747600b880de62cefd1cc2227b8f6a9a49d7";
const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/bin/w"],"Cmd":["a","b"],
    "Env":["PATH=/usr/bin:/bin","APP_ENV=production"],"ExposedPorts":{"8080/tcp":{}},"User":"0:0"},
    "rootfs":{"type":"layers","diff_ids":["sha256:17ed5c281cac4091a93e6db1487c2445631833ce817f1c396dda25837c370685"]}}"#;

/// A host made of files.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.0.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    fn read(&self, id: &str) -> Declared {
        let known = Known { host_network: Some(false), host_pid: Some(false), privileged: false };
        self.read_knowing(known, id)
    }

    fn read_knowing(&self, known: Known, id: &str) -> Declared {
        let host = Host::new(self.0.path());
        let roots = ["/var/lib/docker/overlay2", "/var/lib/containers/storage/overlay"].map(PathBuf::from);
        let places = place::find(&host, id, 1, None, &roots);
        Reader { host: &host, id, places, annotations: &[], missing: Vec::new() }.read(known)
    }
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../../tests/fixtures/declared/{name}", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).unwrap();
    if !name.ends_with(".gz") {
        return bytes;
    }
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut out).unwrap();
    out
}

fn spec(args: &str, annotations: &str) -> String {
    format!(
        r#"{{"process":{{"args":{args},"env":["PATH=/usr/bin:/bin","APP_ENV=production","TOKEN=planted"],"user":{{"uid":0,"gid":0}},
        "capabilities":{{"bounding":["CAP_CHOWN"]}}}},"annotations":{annotations},
        "linux":{{"namespaces":[{{"type":"pid"}},{{"type":"network","path":"/proc/7/ns/net"}}],"maskedPaths":["/proc/kcore"]}}}}"#
    )
}

fn environment_is_whole(declared: &Declared) {
    let environment = declared.environment.as_ref().unwrap();
    let actual = b"PATH=/usr/bin:/bin\0APP_ENV=production\0TOKEN=planted\0X=1\0";
    let names: Vec<&[u8]> = environment.differences(actual, false).map(|d| d.name).collect();
    assert_eq!(names, [b"X"]);
    assert!(!format!("{declared:?}").contains("planted"));
}

#[test]
fn docker_with_its_own_image_store() {
    let (tree, image, pulled) = (Tree::new(), Digest::of(CONFIG.as_bytes()), Digest::of(b"manifest"));
    let root = "/var/lib/docker";
    let container = format!(
        r#"{{"ID":"{ID}","Path":"/bin/w","Args":["x"],"Image":"{image}","Driver":"overlay2",
        "Config":{{"Image":"app:1","Env":["TOKEN=planted"],"ExposedPorts":{{"9090/tcp":{{}}}}}}}}"#
    );
    tree.put(&format!("{root}/containers/{ID}/config.v2.json"), container)
        .put(
            &format!("{root}/containers/{ID}/hostconfig.json"),
            r#"{"Privileged":true,"NetworkMode":"host","PortBindings":{"53/udp":[]}}"#,
        )
        .put(&format!("{root}/image/overlay2/imagedb/content/sha256/{}", image.hex()), CONFIG)
        .put(
            &format!("{root}/image/overlay2/repositories.json"),
            format!(r#"{{"Repositories":{{"app":{{"app:1":"{image}","app@{pulled}":"{image}"}}}}}}"#),
        )
        .put(
            &format!("/run/containerd/io.containerd.runtime.v2.task/moby/{ID}/config.json"),
            spec(r#"["/bin/w","x"]"#, "{}"),
        );
    let declared = tree.read(ID);
    assert_eq!(declared.missing, Vec::<String>::new());
    assert_eq!(declared.image.reference.as_deref(), Some("app:1"));
    assert_eq!((declared.image.id, declared.image.digest()), (Some(image), Some(pulled)));
    assert_eq!(declared.overrides.as_deref().unwrap(), ["command", "privileged"]);
    // Where the namespaces cannot be seen, Docker's word for it counts.
    let unseen = tree.read_knowing(Known { host_network: None, ..Known::default() }, ID);
    assert_eq!(unseen.overrides.as_deref().unwrap(), ["command", "privileged", "host_network"]);
    for (protocol, port) in [(Protocol::Tcp, 8080), (Protocol::Tcp, 9090), (Protocol::Udp, 53)] {
        assert_eq!(declared.declares_port(protocol, port), Some(true), "{port}");
    }
    assert_eq!(declared.declares_port(Protocol::Tcp, 53), Some(false));
    environment_is_whole(&declared);

    // An image's file that is not what its digest says is not believed; all else stays known.
    tree.put(
        &format!("{root}/image/overlay2/imagedb/content/sha256/{}", image.hex()),
        CONFIG.replace("8080", "8081"),
    );
    let declared = tree.read(ID);
    assert_eq!((declared.image.id, declared.config), (Some(image), None));
    assert_eq!(declared.ports, None);
    assert!(declared.missing.iter().any(|m| m.contains("digest")), "{:?}", declared.missing);
    // Without a bundle the container's own record tells the environment.
    std::fs::remove_dir_all(tree.0.path().join("run")).unwrap();
    let declared = tree.read(ID);
    assert!(declared.overrides.is_none() && declared.environment.is_some());
    assert_eq!(declared.args.as_deref().unwrap(), ["/bin/w", "x"]);
}

#[test]
fn docker_with_the_containerd_image_store() {
    let tree = Tree::new();
    let image = Digest::of(CONFIG.as_bytes());
    let manifest = format!(r#"{{"config":{{"digest":"{image}"}},"layers":[]}}"#);
    let manifest_digest = Digest::of(manifest.as_bytes());
    let index = format!(r#"{{"manifests":[{{"digest":"{manifest_digest}"}}]}}"#);
    let index_digest = Digest::of(index.as_bytes());
    let blobs = "/var/lib/docker/containerd/daemon/io.containerd.content.v1.content/blobs/sha256";
    let container = format!(
        r#"{{"ID":"{ID}","Path":"/bin/w","Args":["a","b"],"Image":"{index_digest}","Driver":"overlayfs",
        "ImageManifest":{{"digest":"{manifest_digest}"}},"Config":{{"Image":"app@{index_digest}"}}}}"#
    );
    tree.put(&format!("/var/lib/docker/containers/{ID}/config.v2.json"), container)
        .put(&format!("{blobs}/{}", image.hex()), CONFIG)
        .put(&format!("{blobs}/{}", manifest_digest.hex()), &manifest)
        .put(&format!("{blobs}/{}", index_digest.hex()), &index);
    let declared = tree.read(ID);
    assert_eq!(declared.image.id, Some(image));
    assert_eq!(declared.image.digests, [index_digest, manifest_digest]);
    assert_eq!(declared.image.is_pinned(), Some(true));
    assert_eq!(declared.declares_port(Protocol::Tcp, 8080), Some(true));

    // A data root that somebody moved: the layers do not tell, Docker's own mounts do.
    let moved = tree.0.path().join("srv/data");
    std::fs::create_dir_all(&moved).unwrap();
    std::fs::rename(tree.0.path().join("var/lib/docker/containers"), moved.join("containers")).unwrap();
    assert_eq!(tree.read(ID).image.id, None);
    let mounts = format!(
        r#"}},"mounts":[{{"destination":"/etc/hosts","type":"bind","source":"/srv/data/containers/{ID}/hosts"}}],"annotations""#
    );
    let bundle = format!("/run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/{ID}/config.json");
    tree.put(&bundle, spec(r#"["/bin/w","a","b"]"#, "{}").replace(r#"},"annotations""#, &mounts));
    let declared = tree.read(ID);
    assert_eq!(declared.missing, Vec::<String>::new());
    assert_eq!(declared.image.digests, [index_digest, manifest_digest]);
    assert_eq!(declared.overrides.as_deref().unwrap(), [] as [&str; 0]);
}

#[test]
fn crio() {
    let (tree, image) = (Tree::new(), Digest::of(CONFIG.as_bytes()));
    let root = "/var/lib/containers/storage";
    let annotations = serde_json::json!({
        "io.kubernetes.cri-o.Image": image.hex(),
        "io.kubernetes.cri-o.ImageName": "quay.io/app/web:2",
        "io.kubernetes.cri-o.ImageRef": image.hex(),
        "io.kubernetes.cri-o.Annotations": r#"{"io.kubernetes.container.ports":"[{\"containerPort\":9443,\"protocol\":\"TCP\"}]"}"#,
    });
    let file = storage::config_file(&image);
    let manifest = Digest::of(b"m");
    tree.put(
        &format!("/run/containers/storage/overlay-containers/{ID}/userdata/config.json"),
        spec(r#"["/bin/w","a","b"]"#, &annotations.to_string()),
    )
    .put(
        &format!("{root}/overlay-containers/containers.json"),
        format!(r#"[{{"id":"{ID}","image":"{}","metadata":"{{\"pod-name\":\"p\"}}"}}]"#, image.hex()),
    )
    .put(
        &format!("{root}/overlay-images/images.json"),
        format!(
            r#"[{{"id":"{}","digest":"{manifest}","big-data-names":["manifest-{manifest}"]}}]"#,
            image.hex()
        ),
    )
    .put(&format!("{root}/overlay-images/{}/{file}", image.hex()), CONFIG);
    let declared = tree.read(ID);
    assert_eq!(declared.missing, Vec::<String>::new());
    assert_eq!(declared.image.reference.as_deref(), Some("quay.io/app/web:2"));
    assert_eq!((declared.image.id, declared.image.digest()), (Some(image), Some(manifest)));
    assert_eq!(declared.overrides.as_deref(), Some(&[][..]));
    assert_eq!(declared.declares_port(Protocol::Tcp, 9443), Some(true));
    environment_is_whole(&declared);
}

/// What a real podman wrote, but for the configuration, whose digest is another here.
#[test]
fn podman() {
    let (tree, root) = (Tree::new(), "/var/lib/containers/storage");
    tree.put(&format!("{root}/overlay-containers/{ID}/userdata/config.json"), fixture("podman-config.json"))
        .put(&format!("{root}/overlay-containers/containers.json"), fixture("containers.json"))
        .put(&format!("{root}/overlay-images/images.json"), fixture("images.json"))
        .put(&format!("{root}/libpod/bolt_state.db"), fixture("podman-bolt_state.db.gz"));
    let declared = tree.read(ID);
    assert_eq!(declared.image.reference.as_deref(), Some("localhost/probe:1"));
    assert!(declared.image.id.is_some() && declared.image.digest().is_some());
    assert_eq!(declared.overrides.as_deref().unwrap(), ["hostpath_rw:/srv/layout"]);
    assert_eq!(declared.ports, None, "the image's are not known");
    assert!(!format!("{declared:?}").contains("planted"));
}

/// podman writes its database while it starts a container. What does not fit together says nothing of ports:
/// they are not known, and none is undeclared.
#[test]
fn a_record_of_ports_that_cannot_be_read_is_not_no_ports() {
    let (root, image) = ("/var/lib/containers/storage", Digest::of(CONFIG.as_bytes()));
    let file = storage::config_file(&image);
    let tree = Tree::new();
    let containers = format!(r#"[{{"id":"{ID}","image":"{}","metadata":"{{}}"}}]"#, image.hex());
    tree.put(&format!("{root}/overlay-containers/containers.json"), containers)
        .put(&format!("{root}/overlay-images/{}/{file}", image.hex()), CONFIG);
    // No record, as with CRI-O: the image's ports are all.
    assert_eq!(tree.read(ID).declares_port(Protocol::Tcp, 8080), Some(true));
    assert_eq!(tree.read(ID).declares_port(Protocol::Tcp, 80), Some(false));
    for database in [libpod::BOLT, libpod::SQLITE[0]] {
        let mut whole = fixture("podman-bolt_state.db.gz");
        whole.truncate(whole.len() / 3);
        tree.put(&format!("{root}/{database}"), whole);
        let declared = tree.read(ID);
        assert_eq!(declared.declares_port(Protocol::Tcp, 80), None, "{database}");
        assert!(declared.missing.iter().any(|why| why.contains(database)), "{:?}", declared.missing);
        std::fs::remove_file(tree.0.path().join(format!("{root}/{database}").trim_start_matches('/')))
            .unwrap();
    }
}

/// What a real containerd wrote, with blobs that its records do not speak for.
#[test]
fn containerd() {
    let tree = Tree::new();
    let bundle = "/run/containerd/io.containerd.runtime.v2.task/default/c1";
    tree.put(&format!("{bundle}/config.json"), fixture("containerd-config.json"))
        .put("/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db", fixture("containerd-meta.db.gz"));
    let host = Host::new(tree.0.path());
    let mut places = place::find(&host, "c1", 1, None, &[]);
    places.namespaces.push("probe".into());
    let known = Known::default();
    let declared =
        Reader { host: &host, id: "c1", places, annotations: &[], missing: Vec::new() }.read(known);
    assert_eq!(declared.image.reference.as_deref(), Some("localhost/probe:1"));
    assert_eq!((declared.image.id, declared.image.digest()), (None, None), "no blob to prove it");
    assert_eq!(declared.args.as_deref().unwrap(), ["/bin/w", "a", "b"]);
}

/// A name that was given to another image: its layers are not those that the container runs on.
#[test]
fn a_name_that_moved_on_is_not_believed() {
    let tree = Tree::new();
    let put = |config: &str| {
        let id = Digest::of(config.as_bytes());
        let manifest = format!(r#"{{"config":{{"digest":"{id}"}}}}"#);
        let digest = Digest::of(manifest.as_bytes());
        let blobs = "/c/io.containerd.content.v1.content/blobs/sha256";
        tree.put(&format!("{blobs}/{}", id.hex()), config)
            .put(&format!("{blobs}/{}", digest.hex()), manifest);
        (id, digest)
    };
    let (id, target) = put(CONFIG);
    let (_, moved) = put(&CONFIG.replace("17ed5c28", "00000000"));
    let host = Host::new(tree.0.path());
    let of = |target, cri| {
        let mut reader = Reader {
            host: &host,
            id: "c1",
            places: Places::default(),
            annotations: &[],
            missing: Vec::new(),
        };
        let chain = "sha256:17ed5c281cac4091a93e6db1487c2445631833ce817f1c396dda25837c370685";
        let record = Record {
            name: None,
            image_name: "app:1".into(),
            target: Some(target),
            parent: Digest::parse(chain).ok(),
            cri,
        };
        reader.follow(Path::new("/c"), record, None)
    };
    let told = of(target, None);
    assert_eq!((told.id, told.digests), (Some(id), vec![target]));
    let told = of(moved, None);
    assert_eq!((told.id, told.digests, told.config), (None, vec![], None));
    // The CRI plugin recorded the id: the configuration is known, the manifest is not.
    let cri = containerd::CriRecord { reference: "app:1".into(), image: Some(id), ..Default::default() };
    let told = of(moved, Some(cri));
    assert_eq!((told.id, told.digests), (Some(id), vec![]));
    assert!(told.config.is_some());
}

#[test]
fn nothing_there_is_nothing_known() {
    let declared = Tree::new().read(ID);
    assert_eq!(declared.image, super::super::ImageIdentity::default());
    assert!(declared.environment.is_none() && declared.args.is_none() && declared.ports.is_none());
    assert_eq!(declared.missing.len(), 2, "{:?}", declared.missing);
}

#[test]
fn huge_and_odd_files_are_not_read() {
    let tree = Tree::new();
    let path = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json");
    tree.put(&path, "");
    let real = tree.0.path().join(path.trim_start_matches('/'));
    std::fs::OpenOptions::new().write(true).open(&real).unwrap().set_len(1 << 40).unwrap();
    let declared = tree.read(ID);
    assert!(declared.overrides.is_none());
    assert!(declared.missing.iter().any(|m| m.contains("too large")), "{:?}", declared.missing);
    std::fs::remove_file(&real).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &real, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    assert!(tree.read(ID).overrides.is_none(), "and no wait for a writer");
}
