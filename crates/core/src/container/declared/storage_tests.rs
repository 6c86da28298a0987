use super::*;
use proptest::prelude::*;

const ID: &str = "7d088e3500917bedf11954b2036a747600b880de62cefd1cc2227b8f6a9a49d7";
const IMAGE: &str = "5cee8aabe7e0f989bbbd07828c4e5fd92b982d77d9ca1f7146c38f434b67b77a";

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../../tests/fixtures/declared/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn what_podman_wrote_is_read() {
    let found = container(&fixture("containers.json"), ID).unwrap().unwrap();
    assert_eq!(found.reference, "localhost/probe:1");
    assert_eq!(found.image, Digest::from_hex(IMAGE));
    assert_eq!(container(&fixture("containers.json"), "other").unwrap(), None);
    let digests = manifests(&fixture("images.json"), &found.image.unwrap()).unwrap().unwrap();
    assert_eq!(digests.len(), 1);
    assert_eq!(digests[0].hex(), "823e456f820ae5f763ecac2f091b13121c0e29d3d74e434eea6db197f57de5f7");
    assert_eq!(manifests(&fixture("images.json"), &Digest::of(b"")).unwrap(), None);
}

#[test]
fn the_configurations_file_is_named_as_podman_names_it() {
    let name =
        "=c2hhMjU2OjVjZWU4YWFiZTdlMGY5ODliYmJkMDc4MjhjNGU1ZmQ5MmI5ODJkNzdkOWNhMWY3MTQ2YzM4ZjQzNGI2N2I3N2E=";
    assert_eq!(config_file(&Digest::from_hex(IMAGE).unwrap()), name);
    for (bytes, want) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
        assert_eq!(base64(bytes.as_bytes()), want);
    }
}

#[test]
fn records_without_image_or_name_are_read() {
    let json =
        br#"[{"id":"a"},{"id":"b","image":"","metadata":"{"},{"id":"c","image":null,"metadata":"{}"}]"#;
    for id in ["a", "b", "c"] {
        assert_eq!(container(json, id).unwrap(), Some(StoredContainer::default()));
    }
    let whole = fixture("containers.json");
    assert!((0..whole.len() - 1).all(|cut| container(&whole[..cut], ID).is_err()), "half-written");
}

proptest! {
    #[test]
    fn never_panics(json in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = (container(&json, ID), manifests(&json, &Digest::of(b"")));
    }
}
