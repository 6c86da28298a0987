//! What container engines keep of a container and its image: documents of any bytes.
#![no_main]
use drift::container::declared::docker::{self, DockerContainer, HostConfig};
use drift::container::declared::overrides::{overrides, Known};
use drift::container::declared::spec::RunSpec;
use drift::container::declared::{containerd, ports, reference::Reference, storage};
use drift::manifest::digest::Digest;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let digest = Digest::of(b"");
    if let Ok(spec) = RunSpec::parse(bytes) {
        assert!(overrides(&spec, None, Known::default()).len() <= 64);
    }
    let _ = (DockerContainer::parse(bytes, "id").is_ok(), HostConfig::parse(bytes).is_ok());
    let _ = (docker::pulled_as(bytes, &digest, "a"), containerd::manifest(bytes).is_ok());
    let _ = (storage::container(bytes, "id").is_ok(), storage::manifests(bytes, &digest));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = (ports::of_annotation(text), ports::Ports::parse(text));
        if let Some(reference) = Reference::parse(text) {
            assert!(!reference.repository.is_empty());
        }
    }
});
