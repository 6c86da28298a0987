use super::*;
use drift_formats::ports::Protocol;
use proptest::prelude::*;

const IMAGE: &str = "sha256:5cee8aabe7e0f989bbbd07828c4e5fd92b982d77d9ca1f7146c38f434b67b77a";
const MANIFEST: &str = "sha256:823e456f820ae5f763ecac2f091b13121c0e29d3d74e434eea6db197f57de5f7";

/// As moby's `Container.toDisk` writes it, shortened.
fn config(more: &str) -> String {
    format!(
        r#"{{"State":{{"Running":true,"Pid":4711}},"ID":"c1","Created":"2026-01-01T00:00:00Z","Managed":false,
        "Path":"/docker-entrypoint.sh","Args":["nginx","-g","daemon off;"],
        "Config":{{"Hostname":"c1","User":"","ExposedPorts":{{"80/tcp":{{}},"8000-8002/udp":{{}}}},
            "Env":["PATH=/bin","TOKEN=planted3"],"Cmd":["nginx"],"Image":"nginx:1.25",
            "Entrypoint":["/docker-entrypoint.sh"],"Labels":{{}}}},
        "Image":"{IMAGE}",{more}"Driver":"overlay2","Name":"/web"}}"#
    )
}

#[test]
fn the_record_of_a_container_is_read() {
    let found = DockerContainer::parse(config("").as_bytes(), "c1").unwrap();
    assert_eq!(found.reference, "nginx:1.25");
    assert_eq!(found.image, Digest::parse(IMAGE).ok());
    assert!(!found.in_containerd && found.manifest.is_none());
    assert_eq!(found.args, ["/docker-entrypoint.sh", "nginx", "-g", "daemon off;"]);
    assert!(found.ports.contains(&Ports::one(Protocol::Tcp, 80)));
    assert!(found.ports.iter().any(|p| p.contains(Protocol::Udp, 8001)));
    assert!(found.env[1].value_is(b"planted3") && !format!("{found:?}").contains("planted"));
}

#[test]
fn with_the_containerd_image_store_the_manifest_is_named() {
    let more = format!(r#""ImageManifest":{{"mediaType":"m","digest":"{MANIFEST}","size":1}},"#);
    let json = config(&more).replace("overlay2", "overlayfs");
    let found = DockerContainer::parse(json.as_bytes(), "c1").unwrap();
    assert!(found.in_containerd);
    assert_eq!(found.manifest, Digest::parse(MANIFEST).ok());
}

#[test]
fn another_containers_record_and_damage_are_refused() {
    let whole = config("");
    assert!(DockerContainer::parse(whole.as_bytes(), "c2").is_err());
    for cut in 0..whole.len() {
        let why = DockerContainer::parse(&whole.as_bytes()[..cut], "c1").unwrap_err();
        assert!(!format!("{why} {why:?}").contains("planted"));
    }
}

#[test]
fn published_ports_and_privileges_are_read() {
    let json = br#"{"Binds":["/:/host"],"PortBindings":{"443/tcp":[{"HostIp":"","HostPort":"8443"}]},"Privileged":true,"NetworkMode":"host"}"#;
    let found = HostConfig::parse(json).unwrap();
    assert!(found.privileged && found.host_network);
    assert_eq!(found.ports, [Ports::one(Protocol::Tcp, 443)]);
    assert_eq!(HostConfig::parse(b"{}").unwrap(), HostConfig::default());
    assert!(!HostConfig::parse(br#"{"NetworkMode":"container:c2"}"#).unwrap().host_network);
    assert!(HostConfig::parse(b"{").is_err());
}

#[test]
fn digests_of_the_references_own_repository_come_first() {
    let own = "sha256:0000000000000000000000000000000000000000000000000000000000000009";
    let other = "sha256:0000000000000000000000000000000000000000000000000000000000000001";
    let json = format!(
        r#"{{"Repositories":{{"mirror.example/nginx":{{"mirror.example/nginx@{other}":"{IMAGE}"}},
        "nginx":{{"nginx:1.25":"{IMAGE}","nginx@{own}":"{IMAGE}","nginx@{MANIFEST}":"{MANIFEST}"}}}}}}"#
    );
    let image = Digest::parse(IMAGE).unwrap();
    let want = [Digest::parse(own).unwrap(), Digest::parse(other).unwrap()];
    assert_eq!(pulled_as(json.as_bytes(), &image, "docker.io/library/nginx:1.25").unwrap(), want);
    assert_eq!(pulled_as(json.as_bytes(), &Digest::of(b""), "nginx").unwrap(), []);
    assert!(pulled_as(b"{}", &image, "nginx").is_err());
}

proptest! {
    #[test]
    fn never_panics(json in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (DockerContainer::parse(&json, "c1"), HostConfig::parse(&json));
        let _ = pulled_as(&json, &Digest::of(b""), "nginx");
    }
}
