//! References to images: `registry.example/app:1.2@sha256:…` (distribution, `reference/reference.go`).
//!
//! Invariant: two references to the same repository have the same [`Reference::repository`], however short
//! they are written: `nginx` is `docker.io/library/nginx`.

use drift_formats::digest::Digest;

/// Longest reference that is read, bytes. A name has at most 255, a tag 128, a digest 71.
pub(crate) const MAX_REFERENCE: usize = 512;

/// A reference, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Registry and name, as `docker.io/library/nginx`.
    pub repository: String,
    /// Tag; `None` where none is written.
    pub tag: Option<String>,
    /// Digest; `None` where none is written.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Takes a reference apart; `None` for what is none, a bare image id among it.
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > MAX_REFERENCE || text.chars().any(|c| !c.is_ascii_graphic()) {
            return None;
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(Digest::parse(digest).ok()?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let after_slash = name.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match name.get(after_slash..)?.find(':') {
            Some(at) => (name.get(..after_slash + at)?, Some(name.get(after_slash + at + 1..)?)),
            None => (name, None),
        };
        let is_id = tag.is_some() && name == "sha256";
        if name.is_empty() || is_id || tag.is_some_and(str::is_empty) || Digest::from_hex(name).is_some() {
            return None;
        }
        let repository = canonical(name)?;
        Some(Self { repository, tag: tag.map(str::to_owned), digest })
    }
}

/// Adds what short names leave out.
fn canonical(name: &str) -> Option<String> {
    let name = name.strip_prefix("index.docker.io/").unwrap_or(name);
    if name.split('/').any(str::is_empty) {
        return None;
    }
    let (first, rest) = name.split_once('/').unwrap_or(("", name));
    // A registry has a dot, a port, or is localhost; anything else is a name at Docker's.
    let is_registry = first.contains(['.', ':']) || first == "localhost";
    Some(match (is_registry, first) {
        (true, "docker.io") if !rest.contains('/') => format!("docker.io/library/{rest}"),
        (true, _) => name.to_owned(),
        (false, "") => format!("docker.io/library/{name}"),
        (false, _) => format!("docker.io/{name}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "5cee8aabe7e0f989bbbd07828c4e5fd92b982d77d9ca1f7146c38f434b67b77a";

    #[test]
    fn short_and_long_names_of_a_repository_are_one() {
        for (text, repository, tag) in [
            ("nginx", "docker.io/library/nginx", None),
            ("nginx:1.25", "docker.io/library/nginx", Some("1.25")),
            ("docker.io/nginx", "docker.io/library/nginx", None),
            ("docker.io/library/nginx:x", "docker.io/library/nginx", Some("x")),
            ("index.docker.io/library/nginx", "docker.io/library/nginx", None),
            ("bitnami/redis", "docker.io/bitnami/redis", None),
            ("localhost/probe:1", "localhost/probe", Some("1")),
            ("localhost:5000/probe", "localhost:5000/probe", None),
            ("registry.example:5000/a/b/c:v1", "registry.example:5000/a/b/c", Some("v1")),
        ] {
            let found = Reference::parse(text).unwrap();
            assert_eq!((found.repository.as_str(), found.tag.as_deref()), (repository, tag), "{text}");
            let pinned = Reference::parse(&format!("{text}@sha256:{HEX}")).unwrap();
            assert_eq!((pinned.repository.as_str(), pinned.tag.as_deref()), (repository, tag), "{text}");
            assert_eq!(pinned.digest, Digest::from_hex(HEX));
        }
    }

    #[test]
    fn what_is_no_reference_is_none() {
        let id = format!("sha256:{HEX}");
        for text in ["", ":", "a:", "@", "a b", "a@sha256:12", "a@", "//x", HEX, &id, "a\u{e4}"] {
            assert_eq!(Reference::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,80}") {
            let _ = Reference::parse(&text);
        }
    }
}
